#include "readback/base/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "../ranks_job.h"
#include "readback/base/error.h"
#include "readback/base/progress.h"

namespace readback {
namespace {

constexpr size_t kRanks = 3;

TEST(Ranks, OneProcessNeedsNobody) {
  const Ranks alone;
  EXPECT_EQ(alone.size(), 1);
  EXPECT_TRUE(alone.is_root());
  at::Tensor tensor = at::ones({2});
  alone.sum(tensor);
  alone.broadcast(tensor);
  EXPECT_TRUE(at::equal(tensor, at::ones({2})));
  EXPECT_TRUE(alone.any(true));
  EXPECT_FALSE(alone.any(false));
  EXPECT_EQ(alone.gather("a"), std::vector<std::string>{"a"});
  EXPECT_EQ(alone.scatter({"a"}), "a");
  EXPECT_THROW(alone.together([] { throw DataError("own"); }), DataError);
}

TEST(DISABLED_RankChild, Exchange) {
  const Ranks ranks(find_launch());
  ASSERT_EQ(ranks.size(), static_cast<int64_t>(kRanks));
  const double rank = static_cast<double>(ranks.rank());

  at::Tensor sum = at::full({1000}, rank + 1);
  ranks.sum(sum);
  EXPECT_TRUE(at::equal(sum, at::full({1000}, 6.0)));
  at::Tensor strided = at::full({4, 3}, rank, at::kDouble).t(), half = at::full({3}, rank, at::kBFloat16);
  ranks.sum(strided);
  ranks.sum(half);
  EXPECT_TRUE(at::equal(strided, at::full({3, 4}, 3.0, at::kDouble)));
  EXPECT_TRUE(at::equal(half, at::full({3}, 3.0, at::kBFloat16)));

  at::Tensor first = at::full({2, 2}, rank + 7).t();
  ranks.broadcast(first);
  EXPECT_TRUE(at::equal(first, at::full({2, 2}, 7.0)));

  EXPECT_TRUE(ranks.any(ranks.rank() == 2));
  EXPECT_FALSE(ranks.any(false));

  const std::string own(static_cast<size_t>(ranks.rank()) * 100000, 'x');  // rank 0's is empty
  const std::vector<std::string> all = ranks.gather(own);
  ASSERT_EQ(all.size(), ranks.is_root() ? kRanks : 0u);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], std::string(i * 100000, 'x'));
  EXPECT_EQ(ranks.scatter(all), own);
  ranks.together([] {});
}

TEST(Ranks, ExchangeTensorsAndBytes) { expect_done(Job(kRanks, "DISABLED_RankChild.Exchange"), kRanks); }

TEST(DISABLED_RankChild, FailTogether) {
  const Ranks ranks(find_launch());
  const auto fail_on_1 = [&](const auto& error) {
    ranks.together([&] {
      if (ranks.rank() == 1) throw error;
    });
  };
  if (ranks.rank() == 1) {
    EXPECT_THROW(fail_on_1(DataError("own")), DataError);
  } else {
    try {
      fail_on_1(DataError("own"));
      FAIL() << "went on";
    } catch (const RankError& error) {
      EXPECT_NE(std::string(error.what()).find("an error on rank 1"), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(fail_on_1(Interrupted("own")), Interrupted);
}

TEST(Ranks, EndTogetherWhenOneFails) { expect_done(Job(kRanks, "DISABLED_RankChild.FailTogether"), kRanks); }

// Rank 1 dies while the others wait for it in an exchange; $READBACK_JOB says in which.
TEST(DISABLED_RankChild, LoseOne) {
  const Ranks ranks(find_launch());
  at::Tensor tensor = at::ones({100000});
  ranks.sum(tensor);
  if (ranks.rank() == 1) ::raise(SIGKILL);
  const std::string exchange = std::getenv("READBACK_JOB");
  const auto start = std::chrono::steady_clock::now();
  try {
    if (exchange == "sum") ranks.sum(tensor);
    if (exchange == "gather") ranks.gather("bytes");
    if (exchange == "together") ranks.together([] {});
    // A rank whose part needed nothing of the lost one learns of it in the next.
    ranks.sum(tensor);
    FAIL() << "went on without rank 1";
  } catch (const RankError& error) {
    EXPECT_NE(std::string(error.what()).find("Another has ended"), std::string::npos) << error.what();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(Ranks, LearnWhenOneDies) {
  for (const char* exchange : {"sum", "gather", "together"}) {
    Job job(kRanks, "DISABLED_RankChild.LoseOne", exchange);
    EXPECT_EQ(job.wait(0), 0) << exchange;
    EXPECT_EQ(job.wait(1), 128 + SIGKILL) << exchange;
    EXPECT_EQ(job.wait(2), 0) << exchange;
  }
}

void expect_no_start(const Launch& launch, const std::string& part) {
  try {
    const Ranks ranks(launch);
    FAIL() << "started: " << part;
  } catch (const RankError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("MASTER_PORT"), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
}

TEST(Ranks, SayWhyTheyCannotStart) {
  Launch launch{.rank = 0, .size = 2, .address = "127.0.0.1", .patience = std::chrono::seconds(1)};
  launch.port = static_cast<uint16_t>(free_port());
  expect_no_start(launch, "expected 2 processes to meet, got 1 of them");
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener, 1), 0);
  socklen_t length = sizeof address;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  launch.port = ntohs(address.sin_port);
  expect_no_start(launch, "in use");
  ::close(listener);
  launch.rank = 1;
  expect_no_start(launch, "rank 1 of 2 at 127.0.0.1:");
}

}  // namespace
}  // namespace readback
