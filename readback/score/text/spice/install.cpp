#include "readback/score/text/spice/install.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "readback/base/cache.h"
#include "readback/base/error.h"

namespace readback::score {

namespace fs = std::filesystem;

namespace {

constexpr SpiceJar kJars[] = {
    {"spice-1.0.jar", "6c6a73ae6dd108667047c1818707590413934dcb9f1a62cef6469059b41b3d59", nullptr},
    {"lib/Meteor-1.5.jar", "014a3627d277a6f4ba5b44a20733f8dff28bbb428204c36abfda56565658ba09", nullptr},
    {"lib/SceneGraphParser-1.0.jar", "83a1b7c3f896dd135f9539ba41d65b155827dfc312893bfd5bb835c9f9ae310a", nullptr},
    {"lib/ejml-0.23.jar", "12d44e81fdd661ad2aac6384511facf3d8fa003c3ce8d9cec5f22827d1819a26", nullptr},
    {"lib/fst-2.47.jar", "8c871febc859cf72dbed1c6c1eebc5600c3d93c3e986feccf4623cc5086098cc", nullptr},
    {"lib/guava-19.0.jar", "58d4cc2e05ebb012bbac568b032f75623be1cb6fb096f3c60c72a86f7f057de4", nullptr},
    {"lib/jackson-core-2.5.3.jar", "c9a900c30c702d371be2d3714938dfa6de616599c8eb39f8e3cf7aedd62dfd32", nullptr},
    {"lib/javassist-3.19.0-GA.jar", "d19c1ef43ccd9cb1b39466bb2f1c8e45c2b6752f1e13a3dfb60096543d1791fa", nullptr},
    {"lib/json-simple-1.1.1.jar", "4e69696892b88b41c55d49ab2fdcc21eead92bf54acc588c0050596c3b75199c", nullptr},
    {"lib/lmdbjni-0.4.6.jar", "f4e8c51eb4ef05abe57d2187e76f5c335e4ef16d8503329eb7dbc5ae7a90529c", nullptr},
    {"lib/lmdbjni-linux64-0.4.6.jar", "0b7773db873aaeec399a50113c0a4e121df0eff5e724607f7bc8171452107d94", nullptr},
    {"lib/objenesis-2.4.jar", "090416e160a7e398f79e0149a7b05ef328b1843898a34e08c1cc170128d326d0", nullptr},
    {"lib/slf4j-api-1.7.12.jar", "0aee9a77a4940d72932b0d0d9557793f872e66a03f598e473f45e7efecdccf99", nullptr},
    {"lib/slf4j-simple-1.7.21.jar", "a20179cc3ded2d7e2f5def4ccb34b2d0836e2f8c9e79352a6babd6a6559cc8e0", nullptr},
    {"lib/stanford-corenlp-3.6.0.jar", "d341d5863276f55782c5ef73212222d6b3b48e02ae1951ab6de7618d28b12742",
     "edu/stanford/nlp/stanford-corenlp/3.6.0"},
    {"lib/stanford-corenlp-3.6.0-models.jar", "d285157bd7887ee3018094b5dbae092e49088b023361ccdb550ee1daf9b2c9bd",
     "edu/stanford/nlp/stanford-corenlp/3.6.0"},
    {"lib/rhino-1.7.14.jar", "c9290b0d801bf0dbbbc44338e0f769b7650a0c5d04e6bb1aeb85775c0211b003",
     "org/mozilla/rhino/1.7.14"},
    {"lib/rhino-engine-1.7.14.jar", "961ed9bb342419d6cbf9a2064508c359e9a25cd636182030584b1b742c3f9928",
     "org/mozilla/rhino-engine/1.7.14"},
};

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

bool is_program(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0;
}

}  // namespace

std::span<const SpiceJar> spice_jars() { return kJars; }

fs::path spice_folder() {
  if (const char* path = environment("READBACK_SPICE")) return path;
  if (const char* data = environment("XDG_DATA_HOME")) return fs::path(data) / "readback/spice";
  const char* home = environment("HOME");
  return fs::path(home ? home : ".") / ".local/share/readback/spice";
}

fs::path spice_cache_folder() { return cache_folder() / fmt::format("spice-{:.8}", kJars[0].digest); }

fs::path find_java() {
  if (const char* home = environment("JAVA_HOME"); home && is_program(fs::path(home) / "bin/java")) {
    return fs::path(home) / "bin/java";
  }
  const char* path = environment("PATH");
  std::istringstream folders(path ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (is_program(fs::path(folder) / "java")) return fs::path(folder) / "java";
  }
  return {};
}

std::string spice_absence(const fs::path& folder, const fs::path& java) {
  for (const SpiceJar& jar : kJars) {
    std::error_code ignored;
    if (fs::is_regular_file(folder / jar.name, ignored)) continue;
    return describe("SPICE", fmt::format("its programs in {}", folder.string()), fmt::format("no {}", jar.name),
                    "Fetch them with: readback score prepare-spice --package DIR/pycocoevalcap/spice (DIR is the "
                    "Location that `pip show pycocoevalcap` prints)");
  }
  if (java.empty()) {
    return describe("SPICE", "Java 8 or later", "no java in JAVA_HOME or PATH",
                    "Install one, for example the package default-jre-headless, or set JAVA_HOME");
  }
  return "";
}

bool has_spice() { return spice_absence().empty(); }

}  // namespace readback::score
