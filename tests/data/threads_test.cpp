// What several threads may use at once. ThreadSanitizer runs these.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "readback/data/emoji_scenes.h"
#include "readback/data/oracle.h"

namespace readback::data {
namespace {

// Run alone, the threads are the first that read the atlas and scale its sprites.
TEST(Threads, DrawAndReadScenesAtOnce) {
  constexpr int64_t kScenes = 24;
  std::vector<int> drawn(4), read(4);
  std::vector<std::vector<image::Image>> pictures(4);
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int64_t i = 0; i < kScenes; ++i) {
        const Scene scene = make_scene(Split::kTest, i);
        pictures[thread].push_back(render(scene, i % 2 == 0 ? 32 : 48));
        read[thread] += compare(scene, read_image(pictures[thread].back())).all;
        drawn[thread] += compare(scene, parse_caption(captions(scene)[0])).all;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(drawn, std::vector<int>(4, kScenes));
  EXPECT_EQ(read, std::vector<int>(4, kScenes));
  for (size_t thread = 1; thread < 4; ++thread) EXPECT_EQ(pictures[thread], pictures[0]);
}

}  // namespace
}  // namespace readback::data
