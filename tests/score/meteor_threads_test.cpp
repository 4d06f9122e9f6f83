// Threads share METEOR's mapped tables. ThreadSanitizer runs this.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "meteor_tables.h"
#include "readback/score/text/meteor/meteor.h"
#include "readback/score/text/meteor/tables.h"

namespace readback::score {
namespace {

TEST(MeteorThreads, ShareTheTables) {
  const MeteorFolder folder;
  write_file(folder.file(), small_meteor_tables());
  const auto tables = MeteorTables::load(folder.file());
  const std::vector<std::string> references = {"a large dog ran across the street", "the big dogs are running"};
  const double alone = Meteor(tables).score("the big dog runs over the road", references).score;
  std::vector<int> equal(4);
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      Meteor meteor(tables);
      for (int i = 0; i < 50; ++i) {
        equal[thread] += meteor.score("the big dog runs over the road", references).score == alone;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(alone, 0);
  EXPECT_EQ(equal, std::vector<int>(4, 50));
}

}  // namespace
}  // namespace readback::score
