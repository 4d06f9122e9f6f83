#include "readback/base/ranks.h"

#include <ATen/ATen.h>
#include <c10/util/Logging.h>
#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <exception>
#include <thread>

#include "readback/base/error.h"

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

C10_DECLARE_int(caffe2_log_level);

namespace readback {

using std::chrono::milliseconds;

struct Ranks::Connections {
  Connections(c10::intrusive_ptr<c10d::Store> store, c10::intrusive_ptr<c10d::ProcessGroupGloo> group)
      : store(std::move(store)), group(std::move(group)) {}
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group;
};

namespace {

constexpr milliseconds kExchange = std::chrono::minutes(30);  // computing differs by less than this between ranks
constexpr milliseconds kAnyLength = std::chrono::hours(24 * 365);

// What c10d and Gloo say without source lines, back traces and advice.
std::string reason(const std::exception& error) {
  const auto* traced = dynamic_cast<const c10::Error*>(&error);
  std::string text = traced != nullptr ? traced->what_without_backtrace() : error.what();
  if (text.starts_with("[") && text.find("] ") != std::string::npos) text.erase(0, text.find("] ") + 2);
  return text.substr(0, std::min(text.find(". This"), text.find('\n')));
}

void exchange(const Launch& launch, const std::function<c10::intrusive_ptr<c10d::Work>()>& begin, milliseconds limit) {
  try {
    begin()->wait(limit);
  } catch (const std::exception& error) {
    throw RankError(describe(fmt::format("rank {} of {}", launch.rank, launch.size), "an answer of the other ranks",
                             reason(error), "Another has ended, see its message; start all again to go on"));
  }
}

at::Tensor as_tensor(std::string& bytes) {
  return at::from_blob(bytes.data(), {static_cast<int64_t>(bytes.size())}, at::kByte);
}

// The store through which ranks find each other, when all are there. c10d waits without listening to Ctrl-C; this waits
// in short pieces.
c10::intrusive_ptr<c10d::Store> meet(const Launch& launch, const Context& context) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point deadline = Clock::now() + launch.patience;
  c10d::TCPStoreOptions options;
  options.port = launch.port;
  options.isServer = launch.rank == 0 && !launch.launcher_listens;
  options.timeout = std::min(launch.patience, milliseconds(2000));
  c10::intrusive_ptr<c10d::Store> store;
  while (!store) {
    context.check();
    try {
      store = c10::make_intrusive<c10d::TCPStore>(launch.address, options);
    } catch (const std::exception&) {
      if (options.isServer || Clock::now() > deadline) throw;
    }
  }
  store->setTimeout(launch.patience);
  store = c10::make_intrusive<c10d::PrefixStore>("readback/" + launch.attempt, store);
  for (int64_t there = store->add("there", 1); there < launch.size; there = store->add("there", 0)) {
    context.check();
    if (Clock::now() > deadline) throw RankError(fmt::format("{} of them", there));
    std::this_thread::sleep_for(milliseconds(20));
  }
  return store;
}

}  // namespace

Ranks::Ranks(Launch launch, const Context& context) : launch_(std::move(launch)) {
  if (size() == 1) return;
  FLAGS_caffe2_log_level = 3;     // c10d would print what we throw, with back traces
  std::signal(SIGPIPE, SIG_IGN);  // writing to a rank that has died is an error, not this process's end
  try {
    const auto store = meet(launch_, context);
    connections_ = std::make_shared<Connections>(
        store,
        c10::make_intrusive<c10d::ProcessGroupGloo>(store, static_cast<int>(rank()), static_cast<int>(size()),
                                                    c10d::ProcessGroupGloo::Options::create_default(launch_.patience)));
  } catch (const Interrupted&) {
    throw;
  } catch (const std::exception& error) {
    throw RankError(describe(
        fmt::format("rank {} of {} at {}:{}", rank(), size(), launch_.address, launch_.port),
        fmt::format("{} processes to meet", size()), reason(error),
        "MASTER_ADDR and MASTER_PORT must be the same for all, lead to rank 0, and be used by no other program"));
  }
}

void Ranks::sum(at::Tensor tensor) const {
  if (size() == 1) return;
  std::vector<at::Tensor> host = {tensor.detach().cpu().contiguous()};
  c10d::AllreduceOptions options;
  options.timeout = kExchange;
  exchange(
      launch_, [&] { return connections_->group->allreduce(host, options); }, kExchange);
  if (host[0].data_ptr() != tensor.data_ptr()) tensor.detach().copy_(host[0]);
}

double Ranks::sum(double value) const {
  const at::Tensor total = at::full({1}, value, at::kDouble);
  sum(total);
  return total.item<double>();
}

void Ranks::broadcast(at::Tensor tensor) const {
  if (size() == 1) return;
  std::vector<at::Tensor> host = {tensor.detach().cpu().contiguous()};
  c10d::BroadcastOptions options;
  options.timeout = kExchange;
  exchange(
      launch_, [&] { return connections_->group->broadcast(host, options); }, kExchange);
  if (host[0].data_ptr() != tensor.data_ptr()) tensor.detach().copy_(host[0]);
}

bool Ranks::any(bool flag) const { return size() == 1 ? flag : sum(flag ? 1.0 : 0.0) > 0; }

void Ranks::send(const std::string& bytes, int64_t to) const {
  std::string copy = bytes;
  std::vector<at::Tensor> length = {at::full({1}, static_cast<int64_t>(bytes.size()), at::kLong)};
  std::vector<at::Tensor> body = {as_tensor(copy)};
  const int rank = static_cast<int>(to);
  exchange(
      launch_, [&] { return connections_->group->send(length, rank, 0); }, kAnyLength);
  if (!bytes.empty())
    exchange(
        launch_, [&] { return connections_->group->send(body, rank, 0); }, kAnyLength);
}

std::string Ranks::receive(int64_t from) const {
  std::vector<at::Tensor> length = {at::zeros({1}, at::kLong)};
  const int rank = static_cast<int>(from);
  exchange(
      launch_, [&] { return connections_->group->recv(length, rank, 0); }, kAnyLength);
  std::string bytes(static_cast<size_t>(length[0].item<int64_t>()), '\0');
  std::vector<at::Tensor> body = {as_tensor(bytes)};
  if (!bytes.empty())
    exchange(
        launch_, [&] { return connections_->group->recv(body, rank, 0); }, kAnyLength);
  return bytes;
}

std::string Ranks::scatter(const std::vector<std::string>& parts) const {
  if (!is_root()) return receive(0);
  for (int64_t i = 1; i < size(); ++i) send(parts.at(static_cast<size_t>(i)), i);
  return parts.at(0);
}

std::vector<std::string> Ranks::gather(const std::string& part) const {
  if (!is_root()) {
    send(part, 0);
    return {};
  }
  std::vector<std::string> parts = {part};
  for (int64_t i = 1; i < size(); ++i) parts.push_back(receive(i));
  return parts;
}

void Ranks::together(const std::function<void()>& work) const {
  if (size() == 1) return work();
  constexpr int64_t kInterrupted = 1, kFailed = 2;
  at::Tensor outcomes = at::zeros({size()}, at::kLong);
  std::exception_ptr own;
  try {
    work();
  } catch (const RankError&) {
    throw;  // there is nobody to tell
  } catch (const Interrupted&) {
    outcomes[rank()] = kInterrupted;
    own = std::current_exception();
  } catch (...) {
    outcomes[rank()] = kFailed;
    own = std::current_exception();
  }
  std::vector<at::Tensor> host = {outcomes};
  c10d::AllreduceOptions options;
  options.timeout = kAnyLength;
  exchange(
      launch_, [&] { return connections_->group->allreduce(host, options); }, kAnyLength);
  if (own) std::rethrow_exception(own);
  for (int64_t i = 0; i < size(); ++i) {
    const int64_t outcome = outcomes[i].item<int64_t>();
    if (outcome == kInterrupted) throw Interrupted(fmt::format("rank {} was interrupted", i));
    if (outcome == kFailed) {
      throw RankError(describe(fmt::format("rank {} of {}", rank(), size()), "all ranks to go on",
                               fmt::format("an error on rank {}, see its message", i)));
    }
  }
}

void Ranks::on_root(const std::function<void()>& work) const {
  together([&] {
    if (is_root()) work();
  });
}

}  // namespace readback
