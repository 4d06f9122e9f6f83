// Answers that were paid for, by what was asked.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

namespace readback::wire {

// A folder with a file an answer. Several processes may share it. What lies in it may be removed at any time.
class Answers {
 public:
  explicit Answers(std::filesystem::path folder);

  // `key`: 64 hexadecimal digits. None for what was not kept, and for what is damaged.
  std::optional<std::string> find(const std::string& key) const;

  // Marks a question as sent; returns whether it was marked before: an earlier process sent it and ended before a whole
  // answer came. Errors: StoreError.
  bool send(const std::string& key) const;
  void keep(const std::string& key, const std::string& answer) const;  // whole or not at all. Errors: StoreError.
  void forget(const std::string& key) const;                           // the mark: it was answered, but not kept

 private:
  std::filesystem::path file(const std::string& key) const;
  std::filesystem::path folder_;
};

}  // namespace readback::wire
