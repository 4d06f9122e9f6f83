// Repositories of a hub that speaks Hugging Face's API, into the cache that huggingface_hub shares.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/wire/options.h"
#include "readback/wire/secret.h"

namespace readback::wire {

struct HubFile {
  std::string name;    // "unet/diffusion_pytorch_model.safetensors"
  int64_t size = 0;    // bytes
  std::string digest;  // what its blob is called: a SHA-256, or Git's SHA-1 of small files
  bool operator==(const HubFile&) const = default;
};

struct HubRepository {
  std::string id;  // "OWNER/NAME" of a model, "datasets/OWNER/NAME" of a data set
  std::string revision, commit;
  std::string license;  // as its card says; empty: it says nothing
  std::vector<HubFile> files;
};

// The files of those that `patterns` names ("*" any characters, '/' too); without patterns those that a backend needs:
// configurations, tokenizers, licences, and of each folder's weights the safetensors without a variant, else the
// PyTorch ones; of a pipeline none beside its parts; of a data set all. Errors: UsageError for a pattern that names
// none.
std::vector<HubFile> files_to_pull(const HubRepository& repository, const std::vector<std::string>& patterns);
int64_t bytes_of(const std::vector<HubFile>& files);
// "12 of 20 files, 0.99 GB; licence: mit".
std::string summary(const HubRepository& repository, const std::vector<HubFile>& files);

class Hub {
 public:
  // HF_ENDPOINT, else Hugging Face; HF_TOKEN; HF_HUB_CACHE, HF_HOME/hub, else ~/.cache/huggingface/hub.
  // Errors: UsageError.
  explicit Hub(const WireOptions& options);

  // Errors: NetworkError, also for an id or a revision that is not there, and for a name that leaves the folder;
  // UsageError for what is no id.
  HubRepository look(const std::string& id, const std::string& revision, const Context& context) const;

  // The files, each whole and verified or absent, and the folder in which they are: CACHE/models--…/snapshots/COMMIT.
  // What is there is not asked for again; what was begun is gone on with. `progress` counts bytes. Of two that pull the
  // same file one waits for the other. Errors: NetworkError, StoreError, Interrupted; what came stays.
  std::filesystem::path pull(const HubRepository& repository, const std::vector<HubFile>& files,
                             const Context& context) const;

  std::filesystem::path folder(const std::string& id) const;  // CACHE/models--OWNER--NAME or CACHE/datasets--…

 private:
  void pull_file(const HubRepository& repository, const HubFile& file, const Context& context) const;
  std::string get(const std::string& url, const Context& context) const;

  WireOptions options_;
  std::string endpoint_;
  Secret token_;
  std::filesystem::path cache_;
};

// What "hub:ID" or "hub:ID@REVISION" names as a folder, pulled where it is not there, after a note of its size and
// licence. Where the hub cannot be reached it is what the cache has of it, with a note. What begins otherwise stays as
// it is. Errors: as look()'s and pull()'s.
std::string pulled(const std::string& spec, const WireOptions& options, const Context& context);

}  // namespace readback::wire
