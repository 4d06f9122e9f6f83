// A hub whose repositories are folders of this machine.
#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "readback/base/files.h"
#include "readback/base/sha256.h"
#include "tests/wire_server.h"

namespace readback {

class HubOfFolders {
 public:
  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

  // By id: "org/model" or "datasets/org/photos".
  explicit HubOfFolders(std::map<std::string, std::filesystem::path> folders) : folders_(std::move(folders)) {}

  WireServer::Reply operator()(const WireServer::Seen& seen) const {
    using nlohmann::json;
    for (const auto& [id, folder] : folders_) {
      const std::string kind = id.starts_with("datasets/") ? "" : "models/";
      if (seen.path.starts_with("/api/" + kind + id + "/revision/")) {
        json files = json::array();
        for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
          if (!entry.is_regular_file()) continue;
          const std::string bytes = read_file(entry.path());
          files.push_back({{"rfilename", std::filesystem::relative(entry.path(), folder).string()},
                           {"size", bytes.size()},
                           {"blobId", kCommit},
                           {"lfs", {{"sha256", sha256_hex(bytes)}}}});
        }
        return {.body = json{{"sha", kCommit}, {"siblings", files}}.dump()};
      }
      const std::string resolved = "/" + id + "/resolve/" + kCommit + "/";
      if (seen.path.starts_with(resolved)) return {.body = read_file(folder / seen.path.substr(resolved.size()))};
    }
    return {.status = 404, .body = "{\"error\":\"Repository not found\"}"};
  }

 private:
  std::map<std::string, std::filesystem::path> folders_;
};

}  // namespace readback
