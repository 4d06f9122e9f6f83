#include "readback/checkpoint/weight_files.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/pickle.h"

namespace readback::checkpoint {

namespace fs = std::filesystem;

namespace {

struct Layout {
  const char *stem, *extension;
};
constexpr Layout kLayouts[] = {{"model", ".safetensors"},
                               {"diffusion_pytorch_model", ".safetensors"},
                               {"pytorch_model", ".bin"},
                               {"diffusion_pytorch_model", ".bin"}};

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

WeightFiles find_of_variant(const fs::path& folder, const std::string& variant) {
  const std::string dotted = variant.empty() ? "" : "." + variant;
  for (const auto& [stem, extension] : kLayouts) {
    const bool is_pickle = std::string(extension) == ".bin";
    const fs::path whole = folder / (stem + dotted + extension);
    const fs::path index = folder / (std::string(stem) + extension + ".index" + dotted + ".json");
    if (is_file(whole)) return {whole, variant, false, is_pickle};
    if (is_file(index)) return {index, variant, true, is_pickle};
  }
  return {};
}

// What stands between `begin` and `end` in `name`; empty: it does not look so.
std::string between(const std::string& name, const std::string& begin, const std::string& end) {
  if (!name.starts_with(begin) || !name.ends_with(end) || name.size() <= begin.size() + end.size()) return "";
  return name.substr(begin.size(), name.size() - begin.size() - end.size());
}

std::set<std::string> variants_in(const fs::path& folder) {
  std::set<std::string> variants;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    for (const auto& [stem, extension] : kLayouts) {
      const std::string whole = between(name, std::string(stem) + ".", extension);
      const std::string index = between(name, std::string(stem) + extension + ".index.", ".json");
      const bool is_shard = whole.find("-of-") != std::string::npos;
      if (!whole.empty() && !is_shard) variants.insert(whole);
      if (!index.empty()) variants.insert(index);
    }
  }
  return variants;
}

std::map<std::string, std::vector<std::string>> read_index(const fs::path& path) {
  nlohmann::json index;
  try {
    index = read_json(path);
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object() ||
      index["weight_map"].empty())
    throw CheckpointError(describe(path.string(), "an object with a 'weight_map'", "none"));
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [key, file] : index["weight_map"].items()) {
    // A shard lies beside its index: a path could lead anywhere.
    if (!file.is_string() || file.get_ref<const std::string&>().find('/') != std::string::npos)
      throw CheckpointError(describe(path.string() + ": '" + key + "'", "a file name", file.dump()));
    shards[file.get<std::string>()].push_back(key);
  }
  return shards;
}

}  // namespace

WeightFiles find_weights(const fs::path& folder, const std::string& variant) {
  WeightFiles found = variant.empty() ? WeightFiles{} : find_of_variant(folder, variant);
  if (found.path.empty()) found = find_of_variant(folder, "");
  if (!found.path.empty()) return found;
  const std::set<std::string> variants = variants_in(folder);
  if (variants.size() > 1) {
    throw CheckpointError(describe(folder.string(), "weights that no variant names, or those of one variant",
                                   fmt::format("only variants: {}", fmt::join(variants, ", ")),
                                   "Choose one of them as variant"));
  }
  return variants.empty() ? found : find_of_variant(folder, *variants.begin());
}

void expect_variant(const std::string& repository, std::span<const fs::path> folders, const std::string& variant) {
  std::set<std::string> variants;
  for (const fs::path& folder : folders) {
    if (!find_of_variant(folder, variant).path.empty()) return;
    variants.merge(variants_in(folder));
  }
  throw CheckpointError(
      describe(repository + ", variant",
               variants.empty() ? "none: no file of its weights is of a variant"
                                : fmt::format("one that files of its weights are of: {}", fmt::join(variants, ", ")),
               fmt::format("{0}, and no file such as model.{0}.safetensors", variant),
               variants.empty() ? "Leave variant out" : "Name one of them, or leave variant out"));
}

namespace {

std::string first_bytes(const fs::path& file, size_t count) {
  std::string bytes(count, '\0');
  std::ifstream(file, std::ios::binary).read(bytes.data(), static_cast<std::streamsize>(count));
  return bytes;
}

}  // namespace

bool is_pickle(const fs::path& file) {
  const std::string bytes = first_bytes(file, 4);
  return bytes == "PK\3\4" || bytes == "\x80\x02\x8a\x0a";
}

std::optional<OtherFormat> other_format(const fs::path& file) {
  const std::string as_safetensors = "The same model as .safetensors would do";
  const std::string bytes = first_bytes(file, 9);
  if (bytes.starts_with("GGUF")) {
    return OtherFormat{"a GGUF file, whose weights are quantised for llama.cpp", as_safetensors};
  }
  if (bytes.starts_with("\x89HDF")) return OtherFormat{"an HDF5 file, as Keras and TensorFlow write", as_safetensors};
  if (bytes.starts_with("version h")) {
    return OtherFormat{"a pointer of Git LFS, whose file was not fetched",
                       "Fetch it, as git lfs pull does in its repository"};
  }
  // Pickles of protocol 2 to 5 that torch.save did not write. A safetensors file's length of its header may look so,
  // and the header stands behind it.
  if (bytes[0] == '\x80' && bytes[1] >= 2 && bytes[1] <= 5 && bytes[8] != '{' && !is_pickle(file)) {
    return OtherFormat{"a pickle that torch.save did not write; nothing of it was run", as_safetensors};
  }
  return {};
}

namespace {

void refuse_other_formats(const fs::path& file) {
  const auto other = other_format(file);
  if (!other) return;
  throw CheckpointError(
      describe(file.string(), "weights as safetensors, or as torch.save writes them", other->is, other->next));
}

}  // namespace

TensorMap load_weights(const fs::path& file) {
  refuse_other_formats(file);
  return is_pickle(file) ? load_pickle(file) : load_safetensors(file);
}

TensorMap load_weights(const WeightFiles& files) {
  if (!files.is_index) {
    refuse_other_formats(files.path);
    return files.is_pickle ? load_pickle(files.path) : load_safetensors(files.path);
  }
  const std::string where = files.path.string();
  TensorMap tensors;
  for (const auto& [file, keys] : read_index(files.path)) {
    const fs::path path = files.path.parent_path() / file;
    if (!is_file(path)) {
      throw CheckpointError(describe(where, "the shard " + file + " beside it", "no such file",
                                     "The repository is not complete: fetch that file too"));
    }
    refuse_other_formats(path);
    TensorMap shard = files.is_pickle ? load_pickle(path) : load_safetensors(path);
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

}  // namespace readback::checkpoint
