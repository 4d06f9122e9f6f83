#include "readback/checkpoint/repository.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <vector>

#include "readback/base/assets.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/sha256.h"
#include "readback/checkpoint/lora_names.h"
#include "readback/checkpoint/weight_files.h"

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

struct Search {
  fs::path found;      // a folder, or a file of weights; empty: nothing
  std::string looked;  // where
};

bool is_weights(const fs::path& path) {
  const std::string extension = path.extension().string();
  std::error_code error;
  return fs::is_regular_file(path, error) && (extension == ".safetensors" || extension == ".bin" ||
                                              extension == ".ckpt" || extension == ".pt" || extension == ".pth");
}

Search search(const std::string& name) {
  std::error_code error;
  if (fs::is_directory(name, error) || is_weights(name)) return {name, ""};
  std::string looked = "the folder " + name;
  if (name.starts_with("emoji-scenes/")) {
    const fs::path shipped = assets_dir() / name;
    if (fs::is_directory(shipped, error)) return {shipped, ""};
    looked += ", " + shipped.string();
  }
  if (fs::exists(name, error)) {
    const OtherFormat format =
        other_format(name).value_or(OtherFormat{"another file", "Name the folder that holds it"});
    throw CheckpointError(
        describe(name, "a repository folder, a hub id, or weights in a .safetensors, .bin, .ckpt, .pt or .pth file",
                 format.is, format.next));
  }
  if (is_hub_id(name)) {
    for (const fs::path& cache : hub_caches()) {
      if (fs::path path = find_snapshot(cache, name); !path.empty()) return {path, ""};
      looked += ", " + cache.string();
    }
  }
  return {"", looked};
}

// "PATH@BASE", where there is such a path: at the first such place, so that a base may have a base.
struct Names {
  std::string path, base;
};
Names split(const std::string& name) {
  std::error_code error;
  if (fs::exists(name, error)) return {name, ""};
  for (size_t at = name.find('@'); at != std::string::npos; at = name.find('@', at + 1)) {
    const std::string path = name.substr(0, at);
    const bool is_there = fs::exists(path, error) || !search(path).found.empty();
    if (!path.empty() && is_there) return {path, name.substr(at + 1)};
  }
  return {name, ""};
}

// The base of `adapter` as it is named here.
std::string find_base(const std::string& name, const fs::path& adapter) {
  Search result = search(split(name).path);
  if (!result.found.empty()) return name;
  const fs::path folder = fs::is_directory(adapter) ? adapter : adapter.parent_path();
  std::vector<fs::path> places = {folder / ".." / fs::path(name).filename()};
  if (fs::path(name).is_relative()) places.insert(places.begin(), folder / name);
  for (fs::path place : places) {
    place = fs::absolute(place).lexically_normal();
    std::error_code error;
    if ((fs::is_directory(place, error) || is_weights(place)) && !fs::equivalent(place, adapter, error))
      return place.string();
    result.looked += ", " + place.string();
  }
  throw CheckpointError(describe(adapter.string(), "an adapter whose base model '" + name + "' is here",
                                 "nothing at " + result.looked,
                                 "Run where that name leads to it, put the base model beside the adapter, or write '" +
                                     adapter.string() + "@BASE'"));
}

}  // namespace

Repository::Repository(const std::string& name, const std::string& variant, Contents contents)
    : name_(name), variant_(variant), contents_(contents), files_(std::make_shared<UnchangedFiles>()) {
  const auto& [path, base] = split(name);
  open(path, base);
  if (single_file_) check_unchanged();  // its tensors are these
  if (variant.empty()) return;
  std::vector<fs::path> parts;
  if (!single_file_ || whole_base_) {
    for (const std::string& part : folders()) parts.push_back(path_ / part);
  }
  expect_variant(name, parts, variant);
}

void Repository::open(const std::string& name, const std::string& base) {
  const Search result = search(name);
  if (result.found.empty()) {
    throw CheckpointError(describe(name, "a repository folder or a hub id in the cache", "nothing at " + result.looked,
                                   "Check the name, or set HF_HOME to where the checkpoint was downloaded"));
  }
  if (!fs::is_directory(result.found)) return open_file(result.found, base);
  if (checkpoint::is_adapter(result.found)) return open_adapter(result.found, base);
  if (!base.empty()) {
    throw CheckpointError(describe(name_, "a base for an adapter or for a model in one file",
                                   "one for " + result.found.string() + ", which is a whole repository",
                                   "Leave '@" + base + "' away"));
  }
  path_ = result.found;
}

void Repository::open_adapter(const fs::path& path, const std::string& base) {
  if (adapter_) {
    throw CheckpointError(describe(name_, "an adapter of a whole model", "one of the adapter " + path.string(),
                                   "Merge that one into its base model first"));
  }
  adapter_path_ = path;
  files_->check(adapter_path_, adapter_files());
  adapter_ = std::make_shared<const Adapter>(load_adapter(path, base));
  const auto& [below, base_of_base] = split(find_base(adapter_->base, path));
  open(below, base_of_base);
  for (const auto& [part, modules] : adapter_->parts) {
    if (has(part.empty() ? "config.json" : part + "/config.json")) continue;
    const std::string of_xl = part == "text_encoder_2" ? ", as Stable Diffusion XL has one" : "";
    throw CheckpointError(
        describe(adapter_path_.string(), "an adapter of what " + path_.string() + " has",
                 part.empty() ? "one of a model that is no pipeline, such as a captioner" : "one of " + part + of_xl,
                 "Its base is another kind of model: write 'ADAPTER@BASE'"));
  }
}

void Repository::open_file(const fs::path& file, const std::string& base) {
  TensorMap tensors = load_weights(file);
  if (is_lora(tensors)) return open_adapter(file, base);
  const SingleFile& read =
      *(single_file_ = std::make_shared<const SingleFile>(read_single_file(file, std::move(tensors))));
  path_ = file.has_parent_path() ? file.parent_path() : fs::path(".");
  if (!base.empty()) {
    const Search result = search(base);
    std::error_code error;
    if (!fs::is_directory(result.found, error)) {
      throw CheckpointError(describe(name_,
                                     "a base that is a folder or a hub id in the cache, such as " + read.published,
                                     result.found.empty() ? "nothing at " + result.looked : "a file"));
    }
    path_ = result.found;
  }
  whole_base_ = is_whole_base(path_, read);
  if (!whole_base_ && read.configurations.empty()) {
    throw CheckpointError(
        describe(file.string(), read.kind + " with a base that has its configurations", "none in " + path_.string(),
                 "Write '" + file.string() + "@BASE', where BASE is a repository such as " + read.published));
  }
  for (const SingleFile::Vocabulary& vocabulary : read.vocabularies) find_vocabulary(path_, read, vocabulary);
}

bool Repository::is_on_disk(const fs::path& file) const {
  std::error_code error;
  return (!single_file_ || whole_base_) && fs::is_regular_file(path_ / file, error);
}

bool Repository::has(const std::string& file) const {
  return is_on_disk(file) || (single_file_ && !whole_base_ && single_file_->configurations.contains(file));
}

fs::path Repository::vocabulary(const std::string& subfolder) const {
  if (single_file_) {
    for (const SingleFile::Vocabulary& vocabulary : single_file_->vocabularies)
      if (vocabulary.subfolder == subfolder) return find_vocabulary(path_, *single_file_, vocabulary);
  }
  return path_ / subfolder;
}

// A file may lie among a hundred others.
FileList Repository::own_files() const {
  if (!single_file_) return files_of_model(path_);
  FileList files = whole_base_ ? files_of_model(path_) : FileList();
  files["the file"] = single_file_->path;
  for (const SingleFile::Vocabulary& vocabulary : single_file_->vocabularies) {
    for (const auto& [name, path] : texts_of_folder(find_vocabulary(path_, *single_file_, vocabulary)))
      files[vocabulary.subfolder + "/" + name] = path;
  }
  return files;
}

FileList Repository::adapter_files() const {
  if (fs::is_directory(adapter_path_)) return files_of_model(adapter_path_);
  return {{"the file", adapter_path_}};
}

void Repository::check_unchanged() const {
  files_->check(single_file_ ? single_file_->path : path_, own_files());
  if (adapter_) files_->check(adapter_path_, adapter_files());
}

nlohmann::json Repository::json(const std::string& file) const {
  if (!has(file))
    throw CheckpointError(
        describe(path_.string(), "a Hugging Face repository with " + file, "a folder without it", "Check the path"));
  check_unchanged();
  if (!is_on_disk(file)) return single_file_->configurations.at(file);
  nlohmann::json config;
  try {
    config = read_json(path_ / file);
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
  // A base of small files only names a checker of pictures that is not there, nor in any single file.
  const bool names_checker = single_file_ && file == "model_index.json" && config.contains("safety_checker");
  if (names_checker && find_weights(path_ / "safety_checker", variant_).path.empty())
    config["safety_checker"] = {nullptr, nullptr};
  return config;
}

std::vector<std::string> Repository::adapted_parts() const {
  std::vector<std::string> parts;
  for (const auto& [part, modules] : adapter_ ? adapter_->parts : decltype(adapter_->parts){}) parts.push_back(part);
  return parts;
}

// The folders that may have weights.
std::vector<std::string> Repository::folders() const {
  std::vector<std::string> folders = {""};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path_, error))
    if (entry.is_directory()) folders.push_back(entry.path().filename().string());
  return folders;
}

std::vector<std::string> Repository::taken_variants() const {
  std::set<std::string> variants;
  if (!single_file_ || whole_base_) {
    for (const std::string& part : folders()) variants.insert(find_weights(path_ / part, variant_).variant);
  }
  variants.erase("");
  return {variants.begin(), variants.end()};
}

std::string Repository::title() const {
  std::string title = name_;
  if (single_file_) title += fmt::format(" ({} in one file)", single_file_->kind);
  if (const auto variants = taken_variants(); !variants.empty())
    title += fmt::format(" ({} files)", fmt::join(variants, " and "));
  return title;
}

TensorMap Repository::tensors(const std::string& subfolder) const {
  check_unchanged();
  const fs::path folder = path_ / subfolder;
  TensorMap tensors;
  if (!single_file_ || whole_base_) {
    // BLIP-2's files have what was trained of it only, and others may lack a part.
    const bool in_file = single_file_ && single_file_->parts.contains(subfolder);
    const WeightFiles files = find_weights(folder, variant_);
    if (!files.path.empty() && (!in_file || single_file_->configurations.empty())) tensors = load_weights(files);
    std::error_code error;
    if (files.path.empty() && !in_file) {
      throw CheckpointError(describe(folder.string(),
                                     "model.safetensors, diffusion_pytorch_model.safetensors, pytorch_model.bin or "
                                     "diffusion_pytorch_model.bin, or an index of their shards",
                                     fs::is_directory(folder, error) ? "a folder without any" : "no such folder"));
    }
  }
  if (single_file_) {
    const auto part = single_file_->parts.find(subfolder);
    if (part != single_file_->parts.end()) {
      for (const auto& [key, tensor] : part->second) tensors.insert_or_assign(key, tensor);
    } else if (!whole_base_) {
      throw CheckpointError(describe(single_file_->path.string(), single_file_->kind + " with its " + subfolder,
                                     "a file without it",
                                     "Write '" + single_file_->path.string() + "@BASE', where BASE has a " + subfolder +
                                         ", such as " + single_file_->published));
    }
  }
  check_unchanged();
  const bool headers = contents_ == Contents::kHeaders;
  if (headers) {
    for (auto& [key, tensor] : tensors) tensor = tensor.to(at::kMeta);
  }
  if (!adapter_) return tensors;
  const auto own = adapter_->parts.find(subfolder);
  if (own == adapter_->parts.end()) return tensors;
  LowRankMap modules = own->second;
  for (auto& [module, low_rank] : modules) {
    if (headers) low_rank.a = low_rank.a.to(at::kMeta), low_rank.b = low_rank.b.to(at::kMeta);
  }
  add_low_rank(tensors, modules, adapter_path_.string());
  return tensors;
}

std::string Repository::digest() const {
  if (contents_ == Contents::kHeaders) return "";
  check_unchanged();
  std::string summary = summary_of_files(own_files());
  for (const std::string& variant : taken_variants()) summary += "variant " + variant + "\n";
  if (single_file_ && !whole_base_) {
    for (const auto& [name, config] : single_file_->configurations) summary += name + " " + config.dump() + "\n";
  }
  if (adapter_) summary += summary_of_files(adapter_files());
  check_unchanged();
  return "sha256:" + sha256_hex(summary);
}

}  // namespace readback::checkpoint
