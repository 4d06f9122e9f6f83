// One store writes, others read. ThreadSanitizer runs these.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "fakes.h"
#include "readback/roundtrip/store.h"

namespace readback::roundtrip {
namespace {

TEST(StoreThreads, ReadersSeeWholeTransactions) {
  constexpr int64_t kSamples = 30, kCandidates = 5;
  fakes::Folder folder;
  Store writer = Store::open_for_writing(folder, fakes::manifest(fakes::options()));
  std::atomic<bool> done = false;
  std::vector<int64_t> reads(3), torn(3);
  std::vector<std::thread> readers;
  for (size_t reader = 0; reader < 3; ++reader) {
    readers.emplace_back([&, reader] {
      const Store store = Store::open(folder);
      int64_t before = 0;
      for (bool last = false; !last;) {
        last = done;
        const std::vector<CandidateRow> rows = store.candidates(Direction::kI2T2I);
        const auto count = static_cast<int64_t>(rows.size());
        torn[reader] += count % kCandidates != 0 || count < before;
        for (const CandidateRow& row : rows)
          torn[reader] += row.text != fakes::text(static_cast<int>(row.key.candidate));
        before = count;
        ++reads[reader];
      }
      if (before != kSamples * kCandidates) torn[reader] += 1;
    });
  }
  for (int64_t i = 0; i < kSamples; ++i) {
    const std::string sample = "s" + std::to_string(i);
    const SampleRow row{sample, i, "", {"a text"}, ""};
    writer.add_samples(std::span(&row, 1));
    std::vector<CandidateRow> rows(kCandidates);
    for (int64_t k = 0; k < kCandidates; ++k) {
      rows[static_cast<size_t>(k)].key = {Direction::kI2T2I, sample, k};
      rows[static_cast<size_t>(k)].text = fakes::text(static_cast<int>(k));
    }
    writer.put_candidates(rows);
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(torn, std::vector<int64_t>(3));
  for (const int64_t count : reads) EXPECT_GT(count, 0);
}

}  // namespace
}  // namespace readback::roundtrip
