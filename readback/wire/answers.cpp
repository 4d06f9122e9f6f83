#include "readback/wire/answers.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/sha256.h"

namespace readback::wire {

namespace fs = std::filesystem;

namespace {

constexpr size_t kDigits = 64;

fs::path mark(const fs::path& file) { return file.string() + ".sent"; }

}  // namespace

Answers::Answers(fs::path folder) : folder_(std::move(folder)) {}

fs::path Answers::file(const std::string& key) const { return folder_ / key.substr(0, 2) / key; }

// The file: the digest of the answer, a line end, the answer.
std::optional<std::string> Answers::find(const std::string& key) const {
  std::error_code error;
  if (!fs::is_regular_file(file(key), error)) return std::nullopt;
  const std::string bytes = read_file(file(key));
  if (bytes.size() <= kDigits) return std::nullopt;
  std::string answer = bytes.substr(kDigits + 1);
  if (bytes.substr(0, kDigits) != sha256_hex(answer)) return std::nullopt;
  return answer;
}

bool Answers::send(const std::string& key) const {
  const fs::path path = mark(file(key));
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  const int marked = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (marked >= 0) {
    ::close(marked);
    return false;
  }
  if (errno == EEXIST) return true;
  throw StoreError(describe(path.string(), "to be written", std::strerror(errno),
                            "Answers are kept there, so that none is paid for twice"));
}

void Answers::keep(const std::string& key, const std::string& answer) const {
  const fs::path path = file(key), own = path.string() + "." + std::to_string(::getpid());
  write_file(own, sha256_hex(answer) + "\n" + answer);
  std::error_code error;
  fs::rename(own, path, error);
  if (error) throw StoreError(describe(path.string(), "to be written", error.message()));
  forget(key);
}

void Answers::forget(const std::string& key) const {
  std::error_code ignored;
  fs::remove(mark(file(key)), ignored);
}

}  // namespace readback::wire
