// The Java programs that compute SPICE, and where they lie.
#pragma once
#include <filesystem>
#include <span>
#include <string>

namespace readback::score {

struct SpiceJar {
  const char* name;        // in the folder, and in pycocoevalcap/spice
  const char* digest;      // SHA-256
  const char* maven_path;  // below a Maven repository; nullptr when the package brings it
};

// spice-1.0.jar is the first. CoreNLP 3.6.0 parses; Rhino is the JavaScript that spice-1.0.jar writes its results with,
// which Java has not brought itself since version 15.
std::span<const SpiceJar> spice_jars();

// $READBACK_SPICE when set, else readback/spice in $XDG_DATA_HOME or ~/.local/share.
std::filesystem::path spice_folder();
// spice-<digest> in cache_folder() (base/cache.h). It may be removed at any time.
std::filesystem::path spice_cache_folder();

// $JAVA_HOME/bin/java, else java in PATH; empty when there is none.
std::filesystem::path find_java();

// Why SPICE cannot be computed here and what to do about it; empty when it can.
std::string spice_absence(const std::filesystem::path& folder = spice_folder(),
                          const std::filesystem::path& java = find_java());
bool has_spice();

}  // namespace readback::score
