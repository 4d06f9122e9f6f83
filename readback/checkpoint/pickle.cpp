#include "readback/checkpoint/pickle.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/checkpoint/mapped_file.h"
#include "readback/checkpoint/pickle_machine.h"
#include "readback/checkpoint/zip_archive.h"

namespace readback::checkpoint {

namespace {

using Kind = PickleNode::Kind;

constexpr uint64_t kMaxPickle = 64 << 20;  // a large model's is below 1 MB: the tensors' data lies beside it
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
        if (key->kind != Kind::kString && key->kind != Kind::kInteger)
          throw CheckpointError(describe(where_, "names or numbers as keys", "other keys"));
        collect(node->items[i + 1], child(key->kind == Kind::kString ? key->text : std::to_string(key->integer)),
                depth + 1);
      }
    }
  }
  TensorMap take() { return std::move(tensors_); }

 private:
  std::string where_;
  TensorMap tensors_;
  int64_t values_ = 0;
};

// The folder inside the archive that holds data.pkl: torch.save names it after the file.
std::string find_folder(const std::map<std::string, ZipRecord>& records, const std::string& where) {
  const std::string suffix = "/data.pkl";
  const auto found =
      std::find_if(records.begin(), records.end(), [&](const auto& record) { return record.first.ends_with(suffix); });
  if (found == records.end())
    throw CheckpointError(describe(where, "a ZIP file of torch.save", "one without data.pkl"));
  return found->first.substr(0, found->first.size() - suffix.size() + 1);
}

}  // namespace

TensorMap load_pickle(const std::filesystem::path& path) {
  const std::string where = path.string();
  const auto file = MappedFile::open(path);
  const std::string_view bytes = file->bytes();
  if (!bytes.starts_with("PK"))
    throw CheckpointError(describe(where, "a ZIP file of torch.save", "another format",
                                   "Files of torch before 1.6 must be loaded and saved again with a newer torch"));
  const auto records = read_zip_directory(bytes, where);
  const std::string folder = find_folder(records, where);
  const auto contents = [&](const ZipRecord& record) { return bytes.substr(record.offset, record.size); };
  if (const auto order = records.find(folder + "byteorder");
      order != records.end() && contents(order->second) != "little")
    throw CheckpointError(describe(where, "little-endian data", "another byte order"));

  std::map<std::string, at::Tensor> storages;  // tied weights share theirs
  const auto load_storage = [&](const std::string& key, at::ScalarType dtype, int64_t count) {
    const auto refuse = [&](const std::string& expected, const std::string& got) -> void {
      throw CheckpointError(describe(where + ": storage '" + key + "'", expected, got));
    };
    if (const auto known = storages.find(key); known != storages.end()) {
      if (known->second.scalar_type() != dtype || known->second.numel() != count) refuse("one type", "two");
      return known->second;
    }
    const auto record = records.find(folder + "data/" + key);
    if (record == records.end()) refuse("its data in the file", "none");
    const uint64_t element = c10::elementSize(dtype);
    if (record->second.size % element != 0 || record->second.size / element != static_cast<uint64_t>(count))
      refuse(fmt::format("{} elements of {} bytes", count, element), fmt::format("{} bytes", record->second.size));
    const std::string_view data = contents(record->second);
    if (dtype == at::kBool && std::any_of(data.begin(), data.end(), [](unsigned char value) { return value > 1; }))
      refuse("booleans of 0 and 1", "another byte");
    return storages[key] = file->view(record->second.offset, count, dtype);
  };
  const ZipRecord& program = records.at(folder + "data.pkl");
  if (program.size > kMaxPickle)
    throw CheckpointError(
        describe(where, fmt::format("a pickle of at most {} bytes", kMaxPickle), fmt::format("{}", program.size)));
  PickleMachine machine(contents(program), where, load_storage);
  Collector collector(where);
  const PickleNode* root = machine.run();
  if (root->kind < Kind::kTuple || root->kind == Kind::kGlobal || root->kind == Kind::kStorage)
    throw CheckpointError(describe(where, "tensors or a container of them", "another value"));
  collector.collect(root, "", 0);
  return collector.take();
}

}  // namespace readback::checkpoint
