// Word vectors as GloVe and word2vec write them in text (https://nlp.stanford.edu/projects/glove).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "readback/checkpoint/mapped_file.h"

namespace readback::score {

// A line a word: "word v1 … vD", parted by single blanks; a first line of two whole numbers is word2vec's count and
// width. Of a word that comes twice the first line counts, as in gensim. The word of a line may hold blanks, as a few
// in glove.840B do.
//
// The file is read once to check every number and stays mapped; a word's numbers are read again when it is asked for.
// So 400,000 words of 200 numbers (690 MB) take two seconds of processor time and 30 MB of memory.
class WordVectors {
 public:
  // Errors: CheckpointError that names the line: another width than the first line's, no finite number, a word that is
  // not UTF-8, a line above 1 MiB, fewer or more words than a header says, a file without words.
  explicit WordVectors(const std::filesystem::path& path);

  // The whole file's digest (base/file_digest.h). Errors: DataError.
  static std::string digest(const std::filesystem::path& path);

  std::optional<std::vector<float>> find(std::string_view word) const;  // none: not in the file
  int64_t size() const { return static_cast<int64_t>(numbers_.size()); }
  int64_t width() const { return width_; }
  const std::string& name() const { return name_; }  // the file's name: what tables print as the checkpoint

 private:
  std::string name_;
  std::shared_ptr<checkpoint::MappedFile> file_;
  int64_t width_ = 0;
  std::unordered_map<std::string_view, std::string_view> numbers_;  // by word; both lie in the file
};

}  // namespace readback::score
