// What several threads may use at once. ThreadSanitizer runs these.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "goldens.h"
#include "readback/text/ptb_tokenizer.h"
#include "readback/text/tokenizer.h"

namespace readback::text {
namespace {

namespace fs = std::filesystem;
using namespace testing;

// `work(thread)` in four threads at once.
template <typename Work>
void at_once(const Work& work) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 4; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
}

TEST(Threads, ShareATokenizer) {
  const Json texts = golden("cases.json")["texts"];
  for (const std::string kind : {"bert", "clip", "bytes", "unigram", "fallback"}) {
    const auto load = [&] {
      const Folder folder;
      const bool is_pipeline = kind != "bert" && kind != "clip";
      fs::copy_file(goldens() / (is_pipeline ? "pipelines/" + kind + ".json" : kind + "/tokenizer.json"),
                    folder.path() / "tokenizer.json");
      return load_tokenizer(folder.path());
    };
    const auto alone = load(), shared = load();
    std::vector<std::vector<int64_t>> ids;
    std::vector<std::string> decoded;
    for (const Json& text : texts) {
      ids.push_back(alone->encode(text_of(text)));
      decoded.push_back(alone->decode(ids.back()));
    }
    std::vector<size_t> differences(4);
    at_once([&](size_t thread) {
      for (size_t i = 0; i < texts.size(); ++i) {
        const size_t at = (i + thread * texts.size() / 4) % texts.size();
        const std::vector<int64_t> found = shared->encode(text_of(texts[at]));
        differences[thread] += found != ids[at] || shared->decode(found) != decoded[at];
      }
    });
    EXPECT_EQ(differences, std::vector<size_t>(4)) << kind;
  }
}

TEST(Threads, TokenizeCaptionsAtOnce) {
  const std::string caption = "Mr. Smith's dog (a \"beagle\") ran 3 1/2 miles, didn't it? :-) http://a.org/b...";
  std::vector<std::vector<std::string>> found(4);
  at_once([&](size_t thread) { found[thread] = ptb_tokens(caption); });  // the first use in this process
  for (const auto& tokens : found) EXPECT_EQ(tokens, ptb_tokens(caption));
  EXPECT_GT(found[0].size(), 10u);
}

}  // namespace
}  // namespace readback::text
