#include "readback/score/text/spice/prepare.h"

#include <fmt/format.h>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/process.h"
#include "readback/base/sha256.h"
#include "readback/score/text/spice/install.h"

namespace readback::score {

namespace fs = std::filesystem;

namespace {

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

bool has_digest(const fs::path& path, const SpiceJar& jar) {
  return is_file(path) && sha256_hex(read_file(path)) == jar.digest;
}

void copy(const fs::path& source, const SpiceJar& jar, const fs::path& target, const std::string& remedy) {
  const std::string bytes = read_file(source);
  if (const std::string found = sha256_hex(bytes); found != jar.digest) {
    throw DataError(describe(source.string(), fmt::format("SHA-256 {}", jar.digest), found, remedy));
  }
  write_file(target, bytes);
}

// Removed unless it has been moved away.
struct PartialFile {
  fs::path path;
  ~PartialFile() {
    std::error_code ignored;
    fs::remove(path, ignored);
  }
};

void download(const std::string& url, const SpiceJar& jar, const fs::path& target) {
  const std::string remedy = "Check maven_repository, or give a folder that has the file as corenlp";
  const PartialFile partial{target.string() + ".partial"};
  std::error_code error;
  fs::create_directories(target.parent_path(), error);
  const ProcessResult result = [&] {
    try {
      return run_process({{"curl", "--fail", "--silent", "--show-error", "--location", "--connect-timeout", "30",
                           "--speed-limit", "1000", "--speed-time", "60", "--output", partial.path.string(), url}});
    } catch (const DataError&) {
      throw DataError(describe(url, "the program curl to download it with", "none in PATH",
                               "Install curl, or download the file yourself and give its folder as corenlp"));
    }
  }();
  if (result.status != 0) {
    const std::string reason = result.errors.substr(0, result.errors.find('\n'));
    throw DataError(describe(url, "a file that can be downloaded", reason, remedy));
  }
  if (!has_digest(partial.path, jar)) {
    throw DataError(describe(url, fmt::format("SHA-256 {}", jar.digest), "another file", remedy));
  }
  fs::rename(partial.path, target, error);
  if (error) throw StoreError(describe(target.string(), "to be written", error.message()));
}

}  // namespace

SpiceFetched prepare_spice(const SpicePreparation& preparation, const Context& context) {
  SpiceFetched fetched;
  context.progress().begin("SPICE's programs", static_cast<int64_t>(spice_jars().size()));
  for (const SpiceJar& jar : spice_jars()) {
    context.check();
    const std::string file = fs::path(jar.name).filename().string();
    const fs::path target = preparation.output / jar.name;
    if (has_digest(target, jar)) {
      ++fetched.kept;
    } else if (jar.maven_path == nullptr) {
      copy(preparation.package / jar.name, jar, target, "Take the files of pycocoevalcap 1.2");
      ++fetched.copied;
    } else if (!preparation.jars.empty() && is_file(preparation.jars / file)) {
      copy(preparation.jars / file, jar, target, "Take the file of Maven Central");
      ++fetched.copied;
    } else {
      const std::string url = fmt::format("{}/{}/{}", preparation.repository, jar.maven_path, file);
      context.progress().note("downloading " + url);
      download(url, jar, target);
      ++fetched.downloaded;
    }
    context.progress().advance(1, file);
  }
  context.progress().end();
  return fetched;
}

}  // namespace readback::score
