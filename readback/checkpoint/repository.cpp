#include "readback/checkpoint/repository.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <vector>

#include "readback/base/assets.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/sha256.h"
#include "readback/checkpoint/model_files.h"
#include "readback/checkpoint/pickle.h"

namespace readback::checkpoint {

namespace fs = std::filesystem;

namespace {

fs::path environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

// huggingface_hub's own variables, in its order.
std::vector<fs::path> hub_caches() {
  std::vector<fs::path> caches;
  const auto add = [&](const char* variable, const char* below) {
    if (const fs::path root = environment(variable); !root.empty()) caches.push_back(root / below);
  };
  add("HF_HUB_CACHE", "");
  add("HUGGINGFACE_HUB_CACHE", "");
  add("HF_HOME", "hub");
  add("XDG_CACHE_HOME", "huggingface/hub");
  add("HOME", ".cache/huggingface/hub");
  return caches;
}

namespace {

bool is_hub_id(const std::string& name) {
  const auto legal = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '/'; };
  return !name.empty() && std::all_of(name.begin(), name.end(), legal) &&
         std::count(name.begin(), name.end(), '/') <= 1 && name.front() != '/' && name.back() != '/' &&
         name.front() != '.' && name.find("..") == std::string::npos;
}

// <cache>/models--owner--name/snapshots/<the commit that refs/main names>, or the only snapshot there is.
fs::path find_snapshot(const fs::path& cache, const std::string& id) {
  std::string folder = "models--" + id;
  if (const size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  const fs::path root = cache / folder;
  std::error_code error;
  if (fs::is_regular_file(root / "refs" / "main", error)) {
    std::string commit = read_file(root / "refs" / "main");
    while (!commit.empty() && std::isspace(static_cast<unsigned char>(commit.back()))) commit.pop_back();
    if (!commit.empty() && commit.find('/') == std::string::npos &&
        fs::is_directory(root / "snapshots" / commit, error))
      return root / "snapshots" / commit;
  }
  std::vector<fs::path> snapshots;
  for (const auto& entry : fs::directory_iterator(root / "snapshots", error))
    if (entry.is_directory()) snapshots.push_back(entry.path());
  return snapshots.size() == 1 ? snapshots.front() : fs::path();
}

TensorMap load_sharded(const fs::path& index_path, const std::function<TensorMap(const fs::path&)>& load) {
  nlohmann::json index;
  try {
    index = read_json(index_path);
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
  const std::string where = index_path.string();
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object() ||
      index["weight_map"].empty())
    throw CheckpointError(describe(where, "an object with a 'weight_map'", "none"));
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [key, file] : index["weight_map"].items()) {
    // A shard lies beside its index: a path could lead anywhere.
    if (!file.is_string() || file.get_ref<const std::string&>().find('/') != std::string::npos)
      throw CheckpointError(describe(where + ": '" + key + "'", "a file name", file.dump()));
    shards[file.get<std::string>()].push_back(key);
  }
  TensorMap tensors;
  for (const auto& [file, keys] : shards) {
    TensorMap shard = load(index_path.parent_path() / file);
    for (const std::string& key : keys)
      if (!shard.contains(key)) throw CheckpointError(describe(where, "'" + key + "' in " + file, "a file without it"));
    if (shard.size() != keys.size())
      for (const auto& [key, tensor] : shard)
        if (std::find(keys.begin(), keys.end(), key) == keys.end())
          throw CheckpointError(describe(where, "only tensors of the index in " + file, "'" + key + "'"));
    tensors.merge(shard);
  }
  return tensors;
}

TensorMap load_tensors(const fs::path& folder) {
  const auto safetensors = [](const fs::path& file) { return load_safetensors(file); };
  struct Layout {
    const char* file;
    std::function<TensorMap(const fs::path&)> load;
  };
  const Layout layouts[] = {{"model.safetensors", safetensors},
                            {"diffusion_pytorch_model.safetensors", safetensors},
                            {"pytorch_model.bin", load_pickle},
                            {"diffusion_pytorch_model.bin", load_pickle}};
  std::error_code error;
  for (const auto& [file, load] : layouts) {
    const fs::path whole = folder / file, index = folder / (std::string(file) + ".index.json");
    if (fs::is_regular_file(whole, error)) return load(whole);
    if (fs::is_regular_file(index, error)) return load_sharded(index, load);
  }
  throw CheckpointError(describe(folder.string(),
                                 "model.safetensors, diffusion_pytorch_model.safetensors, pytorch_model.bin or "
                                 "diffusion_pytorch_model.bin, or an index of their shards",
                                 fs::is_directory(folder, error) ? "a folder without any" : "no such folder"));
}

struct Search {
  fs::path found;      // empty: nothing
  std::string looked;  // where
};

Search search(const std::string& name) {
  std::error_code error;
  if (fs::is_directory(name, error)) return {name, ""};
  std::string looked = "the folder " + name;
  if (name.starts_with("emoji-scenes/")) {
    const fs::path shipped = assets_dir() / name;
    if (fs::is_directory(shipped, error)) return {shipped, ""};
    looked += ", " + shipped.string();
  }
  if (fs::exists(name, error))
    throw CheckpointError(describe(name, "a repository folder or a hub id", "a file", "Name the folder that holds it"));
  if (is_hub_id(name)) {
    for (const fs::path& cache : hub_caches()) {
      if (fs::path path = find_snapshot(cache, name); !path.empty()) return {path, ""};
      looked += ", " + cache.string();
    }
  }
  return {"", looked};
}

fs::path find_base(const std::string& name, const fs::path& adapter) {
  Search result = search(name);
  if (!result.found.empty()) return result.found;
  std::vector<fs::path> places = {adapter / ".." / fs::path(name).filename()};
  if (fs::path(name).is_relative()) places.insert(places.begin(), adapter / name);
  for (fs::path place : places) {
    place = fs::absolute(place).lexically_normal();
    std::error_code error;
    if (fs::is_directory(place, error) && !fs::equivalent(place, adapter, error)) return place;
    result.looked += ", " + place.string();
  }
  throw CheckpointError(describe(adapter.string(), "an adapter whose base model '" + name + "' is here",
                                 "nothing at " + result.looked,
                                 "Run where that name leads to it, or put the base model beside the adapter"));
}

}  // namespace

Repository::Repository(const std::string& name) : name_(name), files_(std::make_shared<UnchangedFiles>()) {
  const Search result = search(name);
  if (result.found.empty()) {
    throw CheckpointError(describe(name, "a repository folder or a hub id in the cache", "nothing at " + result.looked,
                                   "Check the name, or set HF_HOME to where the checkpoint was downloaded"));
  }
  path_ = result.found;
  if (!checkpoint::is_adapter(path_)) return;
  adapter_path_ = path_;
  files_->check(adapter_path_);
  adapter_ = std::make_shared<const Adapter>(load_adapter(adapter_path_));
  path_ = find_base(adapter_->base, adapter_path_);
  if (checkpoint::is_adapter(path_)) {
    throw CheckpointError(describe(name, "an adapter of a whole model", "one of the adapter " + path_.string(),
                                   "Merge that one into its base model first"));
  }
}

bool Repository::has(const std::string& file) const {
  std::error_code error;
  return fs::is_regular_file(path_ / file, error);
}

void Repository::check_unchanged() const {
  files_->check(path_);
  if (adapter_) files_->check(adapter_path_);
}

nlohmann::json Repository::json(const std::string& file) const {
  if (!has(file))
    throw CheckpointError(
        describe(path_.string(), "a Hugging Face repository with " + file, "a folder without it", "Check the path"));
  check_unchanged();
  try {
    return read_json(path_ / file);
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
}

std::vector<std::string> Repository::adapted_parts() const {
  std::vector<std::string> parts;
  for (const auto& [part, modules] : adapter_ ? adapter_->parts : decltype(adapter_->parts){}) parts.push_back(part);
  return parts;
}

TensorMap Repository::tensors(const std::string& subfolder) const {
  check_unchanged();
  TensorMap tensors = load_tensors(path_ / subfolder);
  check_unchanged();
  if (!adapter_) return tensors;
  const auto own = adapter_->parts.find(subfolder);
  if (own != adapter_->parts.end()) add_low_rank(tensors, own->second, adapter_path_.string());
  return tensors;
}

std::string Repository::digest() const {
  check_unchanged();
  std::string summary = summary_of_files(path_);
  if (adapter_) summary += summary_of_files(adapter_path_);
  check_unchanged();
  return "sha256:" + sha256_hex(summary);
}

}  // namespace readback::checkpoint
