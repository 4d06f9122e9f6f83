#include "readback/score/text/document_frequencies.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <tuple>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/random.h"

namespace readback::score {

namespace {

struct Header {
  std::array<char, 16> magic = {'r', 'e', 'a', 'd', 'b', 'a', 'c', 'k', '-', 'n', 'g', 'r', 'a', 'm', 's'};
  uint64_t version = 1;
  uint64_t documents = 0, ngrams = 0;
  uint64_t checksum = 0;  // FNV-1a of what follows
};

struct Entry {
  uint64_t high, low, frequency;
};

}  // namespace

void DocumentFrequencies::add(std::span<const Tokens> references) {
  std::vector<Ngram> present;
  for (const Tokens& reference : references) {
    for (const NgramCount& entry : count_ngrams(reference)) present.push_back(entry.ngram);
  }
  std::sort(present.begin(), present.end());
  present.erase(std::unique(present.begin(), present.end()), present.end());
  for (const Ngram& ngram : present) increase(ngram, 1);
  ++documents_;
}

int64_t DocumentFrequencies::frequency(const Ngram& ngram) const { return slots_[find(ngram)].frequency; }

void DocumentFrequencies::increase(const Ngram& ngram, int64_t frequency) {
  if (2 * used_ >= slots_.size()) grow();
  Slot& slot = slots_[find(ngram)];
  if (slot.frequency == 0) {
    slot.ngram = ngram;
    ++used_;
  }
  slot.frequency += frequency;
}

size_t DocumentFrequencies::find(const Ngram& ngram) const {
  const size_t mask = slots_.size() - 1;
  size_t at = ngram.low & mask;
  while (slots_[at].frequency != 0 && slots_[at].ngram != ngram) at = (at + 1) & mask;
  return at;
}

void DocumentFrequencies::grow() {
  std::vector<Slot> old(slots_.size() * 4);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.frequency != 0) slots_[find(slot.ngram)] = slot;
  }
}

void DocumentFrequencies::save(const std::filesystem::path& path) const {
  std::vector<Entry> entries;
  entries.reserve(used_);
  for (const Slot& slot : slots_) {
    if (slot.frequency != 0) {
      entries.push_back({slot.ngram.high, slot.ngram.low, static_cast<uint64_t>(slot.frequency)});
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::tie(a.high, a.low) < std::tie(b.high, b.low); });
  const std::string_view bytes(reinterpret_cast<const char*>(entries.data()), entries.size() * sizeof(Entry));
  Header header;
  header.documents = static_cast<uint64_t>(documents_);
  header.ngrams = entries.size();
  header.checksum = fnv1a(bytes);
  AtomicFile file(path);
  file.append({reinterpret_cast<const char*>(&header), sizeof header});
  file.append(bytes);
  file.commit();
}

DocumentFrequencies DocumentFrequencies::load(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  const auto fail = [&](const char* got) {
    throw DataError(describe(path.string(), "document frequencies", got,
                             "Make them with readback score document-frequencies --references FILE --output FILE"));
  };
  Header header;
  const Header expected;
  if (bytes.size() < sizeof header) fail("another file");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != expected.magic) fail("another file");
  if (header.version != expected.version) fail("those of another version");
  const std::string_view rest = std::string_view(bytes).substr(sizeof header);
  if (rest.size() % sizeof(Entry) != 0 || rest.size() / sizeof(Entry) != header.ngrams) fail("a file that is cut off");
  if (fnv1a(rest) != header.checksum) fail("a damaged file");

  DocumentFrequencies result;
  result.documents_ = static_cast<int64_t>(header.documents);
  for (size_t i = 0; i < header.ngrams; ++i) {
    Entry entry;
    std::memcpy(&entry, rest.data() + i * sizeof(Entry), sizeof entry);
    // Nothing occurs in more documents than there are, and 0 would mark a free slot.
    if (entry.frequency == 0 || entry.frequency > header.documents) fail("a damaged file");
    result.increase({entry.high, entry.low}, static_cast<int64_t>(entry.frequency));
  }
  return result;
}

}  // namespace readback::score
