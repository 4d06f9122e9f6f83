// The processes that work on one job together, over c10d with Gloo. Each runs the same program; rank 0 is the one that
// writes, prints and decides. Every rank must make the same calls in the same order.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/launch.h"

namespace readback {

// A copy refers to the same connections. When another rank has died, calls end with RankError as soon as its
// connections are closed; when its machine is silently gone, sum() and broadcast() after half an hour.
class Ranks {
 public:
  Ranks() = default;  // one process: all of the below returns at once
  // Waits until all ranks have come. Errors: RankError (none listens at the address, the port is taken, a rank is
  // missing when the patience ends), Interrupted. From then on the process ignores SIGPIPE.
  explicit Ranks(Launch launch, const Context& context = {});

  int64_t rank() const { return launch_.rank; }
  int64_t size() const { return launch_.size; }
  int64_t local_rank() const { return launch_.local_rank; }
  bool is_root() const { return launch_.rank == 0; }

  // In place; any dtype and device. The result is the same on all ranks, bit by bit.
  void sum(at::Tensor tensor) const;
  double sum(double value) const;
  void broadcast(at::Tensor tensor) const;  // from rank 0
  bool any(bool flag) const;                // whether it is true on any rank

  // However long the other side takes:
  std::string scatter(const std::vector<std::string>& parts) const;  // rank 0 gives part i to rank i
  std::vector<std::string> gather(const std::string& part) const;    // on rank 0 all parts, elsewhere none
  // Does `work` on all ranks and waits for them. What it throws on one ends all: there with its own error, elsewhere
  // with RankError, or Interrupted when that is what it was.
  void together(const std::function<void()>& work) const;
  void on_root(const std::function<void()>& work) const;  // the same, but rank 0 alone has anything to do

 private:
  struct Connections;
  void send(const std::string& bytes, int64_t to) const;
  std::string receive(int64_t from) const;

  Launch launch_;
  std::shared_ptr<Connections> connections_;  // none for one process
};

}  // namespace readback
