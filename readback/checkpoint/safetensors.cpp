#include "readback/checkpoint/safetensors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/mapped_file.h"

namespace readback::checkpoint {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;  // the limit of the reference implementation
constexpr size_t kMaxDimensions = 64;         // ATen's limit for most operations

struct DtypeName {
  const char* name;
  at::ScalarType dtype;
};
constexpr DtypeName kDtypes[] = {
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
    {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool}};

struct Entry {
  std::string name;
  at::ScalarType dtype;
  std::vector<int64_t> shape;
  int64_t count;
  uint64_t begin, end;  // bytes from the end of the header
};

// JSON as safetensors demands it: valid UTF-8, no key twice in an object, no deep nesting.
json parse_header(std::string_view text, const std::string& where) {
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > 3) throw CheckpointError(describe(where, "a header of tensors", "deeper nested JSON"));
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second)
      throw CheckpointError(
          describe(where, "every key once in the header", "'" + value.get<std::string>() + "' twice"));
    return true;
  };
  try {
    // The specification asks for '{' first; spaces may only follow.
    if (text.empty() || text.front() != '{')
      throw CheckpointError(describe(where, "a header that starts with '{'", ""));
    return json::parse(text, check);
  } catch (const json::exception& error) {
    throw CheckpointError(describe(where, "a JSON header", error.what()));
  }
}

Entry read_entry(const std::string& name, const json& value, uint64_t data_size, const std::string& file) {
  const std::string where = file + ": '" + name + "'";
  const auto refuse = [&](const std::string& expected, const std::string& got, const std::string& next = "") -> void {
    throw CheckpointError(describe(where, expected, got, next));
  };
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets"))
    refuse("an object of dtype, shape and data_offsets", value.is_object() ? "other keys" : value.type_name());
  const json& dtype = value["dtype"];
  const auto known = std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const DtypeName& d) {
    return dtype.is_string() && dtype.get_ref<const std::string&>() == d.name;
  });
  if (known == std::end(kDtypes)) refuse("dtype F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL", dtype.dump());
  const auto is_index = [](const json& number) {
    return number.is_number_unsigned() && number.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
  };

  Entry entry{name, known->dtype, {}, 0, 0, 0};
  const json& shape = value["shape"];
  if (!shape.is_array() || shape.size() > kMaxDimensions || !std::all_of(shape.begin(), shape.end(), is_index))
    refuse(fmt::format("a shape of at most {} whole numbers", kMaxDimensions), "another value");
  entry.shape = shape.get<std::vector<int64_t>>();
  const json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !std::all_of(offsets.begin(), offsets.end(), is_index))
    refuse("data_offsets of two whole numbers", "another value");
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  if (entry.begin > entry.end || entry.end > data_size)
    refuse(fmt::format("data_offsets inside the file's {} bytes of data", data_size),
           fmt::format("[{}, {}]", entry.begin, entry.end), "The file may have been cut off: fetch it again");
  entry.count = checked_numel(entry.shape);
  const uint64_t bytes = entry.end - entry.begin, element = c10::elementSize(entry.dtype);
  if (entry.count < 0 || bytes % element != 0 || static_cast<uint64_t>(entry.count) != bytes / element)
    refuse("the bytes of shape " + c10::str(at::IntArrayRef(entry.shape)), fmt::format("{} bytes", bytes));
  return entry;
}

std::map<std::string, std::string> read_metadata(const json& value, const std::string& where) {
  std::map<std::string, std::string> metadata;
  if (!value.is_object()) throw CheckpointError(describe(where + ": __metadata__", "an object", value.type_name()));
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string())
      throw CheckpointError(describe(where + ": __metadata__ '" + key + "'", "a string", text.type_name()));
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

}  // namespace

TensorMap load_safetensors(const std::filesystem::path& path, std::map<std::string, std::string>* metadata) {
  const std::string where = path.string();
  const auto file = MappedFile::open(path);
  const std::string_view bytes = file->bytes();
  uint64_t header_size = 0;
  if (bytes.size() < sizeof header_size)
    throw CheckpointError(describe(where, "a safetensors file", fmt::format("{} bytes", bytes.size())));
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  if (header_size > kMaxHeader || header_size > bytes.size() - sizeof header_size)
    throw CheckpointError(describe(
        where, fmt::format("a header inside the file's {} bytes and of at most {} bytes", bytes.size(), kMaxHeader),
        fmt::format("one of {} bytes", header_size), "The file is truncated or no safetensors file"));
  const size_t data_start = sizeof header_size + header_size;
  const uint64_t data_size = bytes.size() - data_start;
  const json header = parse_header(bytes.substr(sizeof header_size, header_size), where);

  std::vector<Entry> entries;
  if (metadata != nullptr) metadata->clear();
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      entries.push_back(read_entry(name, value, data_size, where));
    } else {
      auto found = read_metadata(value, where);
      if (metadata != nullptr) *metadata = std::move(found);
    }
  }
  // The data must be covered without gaps or overlaps: every byte belongs to exactly one tensor.
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  uint64_t covered = 0;
  TensorMap tensors;
  for (const Entry& entry : entries) {
    if (entry.begin != covered)
      throw CheckpointError(describe(
          where + ": '" + entry.name + "'", fmt::format("data from byte {}", covered),
          fmt::format("byte {}: a {}", entry.begin, entry.begin < covered ? "tensor that overlaps another" : "gap")));
    covered = entry.end;
    if (entry.dtype == at::kBool) {
      const std::string_view values = bytes.substr(data_start + entry.begin, entry.end - entry.begin);
      if (std::any_of(values.begin(), values.end(), [](unsigned char value) { return value > 1; }))
        throw CheckpointError(describe(where + ": '" + entry.name + "'", "booleans of 0 and 1", "another byte"));
    }
    tensors[entry.name] = file->view(data_start + entry.begin, entry.count, entry.dtype).view(entry.shape);
  }
  if (covered != data_size)
    throw CheckpointError(describe(where, fmt::format("{} bytes of data, as the header tells", covered),
                                   fmt::format("{}", data_size), "The file is truncated or damaged"));
  return tensors;
}

void save_safetensors(TensorMap tensors, const std::filesystem::path& path,
                      const std::map<std::string, std::string>& metadata) {
  struct Item {
    const std::string* name;
    at::Tensor* tensor;
  };
  std::vector<Item> items;
  for (auto& [name, tensor] : tensors) items.push_back({&name, &tensor});
  // Widest elements first: with a header of whole 64-byte lines every tensor is aligned without gaps, which are
  // illegal.
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return a.tensor->element_size() > b.tensor->element_size(); });

  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const Item& item : items) {
    const auto known = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                    [&](const DtypeName& d) { return d.dtype == item.tensor->scalar_type(); });
    if (known == std::end(kDtypes) || *item.name == "__metadata__" || item.tensor->layout() != at::kStrided)
      throw StoreError(describe(path.string() + ": '" + *item.name + "'",
                                "a dense tensor of float64 to bool, with another name than __metadata__",
                                c10::toString(item.tensor->scalar_type())));
    const uint64_t end = offset + item.tensor->numel() * item.tensor->element_size();
    header[*item.name] = {
        {"dtype", known->name}, {"shape", item.tensor->sizes().vec()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception& error) {
    throw StoreError(describe(path.string(), "names in UTF-8", error.what()));
  }
  uint64_t header_size = text.size() + 63 - (text.size() + sizeof(uint64_t) + 63) % 64;
  if (header_size > kMaxHeader)
    throw StoreError(describe(path.string(), fmt::format("a header of at most {} bytes", kMaxHeader),
                              fmt::format("{}", header_size)));
  text.resize(header_size, ' ');

  AtomicFile file(path);
  file.append({reinterpret_cast<const char*>(&header_size), sizeof header_size});
  file.append(text);
  for (const Item& item : items) {
    const at::Tensor dense = item.tensor->detach().to(at::kCPU).contiguous();
    file.append({static_cast<const char*>(dense.data_ptr()), dense.nbytes()});
    item.tensor->reset();  // what nobody else holds is not needed any more
  }
  file.commit();
}

}  // namespace readback::checkpoint
