#include "readback/checkpoint/pickle.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "readback/base/error.h"
#include "readback/checkpoint/mapped_file.h"
#include "readback/checkpoint/pickle_machine.h"
#include "readback/checkpoint/zip_archive.h"

namespace readback::checkpoint {

namespace {

using Kind = PickleNode::Kind;

constexpr int kMaxDepth = 16;
constexpr int64_t kMaxValues = 1'000'000;
constexpr size_t kMaxName = 1024;

class Collector {
 public:
  explicit Collector(std::string where) : where_(std::move(where)) {}

  void collect(const PickleNode* node, const std::string& name, int depth) {
    // A container may hold itself, or the same one many times over, or have a name without end.
    if (depth > kMaxDepth || ++values_ > kMaxValues || name.size() > kMaxName)
      throw CheckpointError(describe(where_, "a dictionary of tensors", "containers nested without end"));
    const auto child = [&](const std::string& key) { return depth == 0 ? key : name + "." + key; };
    if (node->kind == Kind::kTensor) {
      if (!tensors_.emplace(name, node->tensor).second)
        throw CheckpointError(describe(where_, "every name once", "'" + name + "' twice"));
    } else if (node->kind == Kind::kList || node->kind == Kind::kTuple) {
      for (size_t i = 0; i < node->items.size(); ++i) collect(node->items[i], child(std::to_string(i)), depth + 1);
    } else if (node->kind == Kind::kDict) {
      for (size_t i = 0; i < node->items.size(); i += 2) {
        const PickleNode* key = node->items[i];
        const bool is_name = key->kind == Kind::kString || key->kind == Kind::kGlobal;
        if (!is_name && key->kind != Kind::kInteger)
          throw CheckpointError(describe(where_, "names or numbers as keys", "other keys"));
        collect(node->items[i + 1], child(is_name ? key->text : std::to_string(key->integer)), depth + 1);
      }
    }
  }
  TensorMap take() { return std::move(tensors_); }

 private:
  std::string where_;
  TensorMap tensors_;
  int64_t values_ = 0;
};

// Where a file keeps its pickle and the data of the storages that the pickle names.
struct Layout {
  std::string_view program;
  std::map<std::string, ZipRecord> storages;
};

// A folder of records, which torch.save names after the file: data.pkl, data/0, data/1, …, byteorder.
Layout zip_layout(std::string_view bytes, const std::string& where) {
  const auto records = read_zip_directory(bytes, where);
  const auto contents = [&](const ZipRecord& record) { return bytes.substr(record.offset, record.size); };
  const std::string pickle = "/data.pkl";
  const auto program =
      std::find_if(records.begin(), records.end(), [&](const auto& record) { return record.first.ends_with(pickle); });
  if (program == records.end())
    throw CheckpointError(describe(where, "a ZIP file of torch.save", "one without data.pkl"));
  const std::string folder = program->first.substr(0, program->first.size() - pickle.size() + 1);
  const std::string data = folder + "data/";
  if (const auto order = records.find(folder + "byteorder");
      order != records.end() && contents(order->second) != "little")
    throw CheckpointError(describe(where, "little-endian data", "another byte order"));
  Layout layout{contents(program->second), {}};
  for (const auto& [name, record] : records)
    if (name.starts_with(data)) layout.storages[name.substr(data.size())] = record;
  return layout;
}

// Before torch 1.6: pickles of a magic number, a version, the machine, the object and the list of its storages, then
// each storage's count (int64) and data.
constexpr std::string_view kLegacyMagic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

Layout legacy_layout(std::string_view bytes, const std::string& where) {
  std::map<std::string, at::ScalarType> dtypes;
  // Only the kinds of the storages are wanted at first; where their data lies is known after the pickle.
  const auto note_storage = [&](const std::string& key, at::ScalarType dtype, int64_t count) {
    if (count > static_cast<int64_t>(bytes.size()))
      throw CheckpointError(describe(where + ": storage '" + key + "'", "its data in the file", "a larger count"));
    dtypes.emplace(key, dtype);
    return at::empty({count}, at::TensorOptions(dtype).device(at::kMeta));
  };
  bytes.remove_prefix(kLegacyMagic.size());
  const size_t all = bytes.size() + kLegacyMagic.size();
  Layout layout;
  std::vector<std::string> keys;
  for (int part = 0; part < 4; ++part) {
    PickleMachine machine(bytes, where, note_storage);
    const PickleNode* root = machine.run();
    if (part == 0 && root->integer != 1001)
      throw CheckpointError(describe(where, "version 1001 of torch.save", std::to_string(root->integer)));
    if (part == 1)
      for (size_t i = 0; i + 1 < root->items.size(); i += 2)
        if (root->items[i]->text == "little_endian" && root->items[i + 1]->integer == 0)
          throw CheckpointError(describe(where, "little-endian data", "another byte order"));
    if (part == 2) layout.program = bytes;
    if (part == 3)
      for (const PickleNode* key : root->items) keys.push_back(key->text);
    bytes.remove_prefix(machine.position());
  }
  for (const std::string& key : keys) {
    int64_t count = 0;
    const auto dtype = dtypes.find(key);
    if (dtype == dtypes.end() || bytes.size() < sizeof count)
      throw CheckpointError(describe(where + ": storage '" + key + "'", "its data in the file", "none"));
    std::memcpy(&count, bytes.data(), sizeof count);
    bytes.remove_prefix(sizeof count);
    const uint64_t element = c10::elementSize(dtype->second);
    if (count < 0 || static_cast<uint64_t>(count) > bytes.size() / element)
      throw CheckpointError(describe(where + ": storage '" + key + "'", "its data in the file", "a truncated file"));
    layout.storages[key] = {all - bytes.size(), count * element};
    bytes.remove_prefix(count * element);
  }
  return layout;
}

}  // namespace

TensorMap load_pickle(const std::filesystem::path& path) {
  const std::string where = path.string();
  const auto file = MappedFile::open(path);
  const std::string_view bytes = file->bytes();
  const bool legacy = bytes.starts_with(kLegacyMagic);
  if (!legacy && !bytes.starts_with("PK"))
    throw CheckpointError(describe(where, "a file of torch.save", "another format"));
  const Layout layout = legacy ? legacy_layout(bytes, where) : zip_layout(bytes, where);

  std::map<std::string, at::Tensor> storages;  // tied weights share theirs
  const auto load_storage = [&](const std::string& key, at::ScalarType dtype, int64_t count) {
    const auto refuse = [&](const std::string& expected, const std::string& got) -> void {
      throw CheckpointError(describe(where + ": storage '" + key + "'", expected, got));
    };
    if (const auto known = storages.find(key); known != storages.end()) {
      if (known->second.scalar_type() != dtype || known->second.numel() != count) refuse("one type", "two");
      return known->second;
    }
    const auto record = layout.storages.find(key);
    if (record == layout.storages.end()) refuse("its data in the file", "none");
    const auto [offset, size] = record->second;
    const uint64_t element = c10::elementSize(dtype);
    if (size % element != 0 || size / element != static_cast<uint64_t>(count))
      refuse(fmt::format("{} elements of {} bytes", count, element), fmt::format("{} bytes", size));
    const std::string_view data = bytes.substr(offset, size);
    if (dtype == at::kBool && std::any_of(data.begin(), data.end(), [](unsigned char value) { return value > 1; }))
      refuse("booleans of 0 and 1", "another byte");
    return storages[key] = file->view(offset, count, dtype);
  };
  PickleMachine machine(layout.program, where, load_storage);
  const PickleNode* root = machine.run();
  if (root->kind < Kind::kTuple || root->kind == Kind::kGlobal || root->kind == Kind::kStorage)
    throw CheckpointError(describe(where, "tensors or a container of them", "another value"));
  Collector collector(where);
  collector.collect(root, "", 0);
  return collector.take();
}

}  // namespace readback::checkpoint
