// The names that a pickle of tensors may use, and what they make: pickle_machine.h's table.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "readback/base/error.h"
#include "readback/checkpoint/mapped_file.h"
#include "readback/checkpoint/pickle_machine.h"

namespace readback::checkpoint {

namespace {

constexpr const char* kOrderedDict = "collections.OrderedDict";
constexpr const char* kRebuildTensor = "torch._utils._rebuild_tensor_v2";
constexpr const char* kRebuildParameter = "torch._utils._rebuild_parameter";

struct StorageType {
  const char* name;
  at::ScalarType dtype;
};
constexpr StorageType kStorageTypes[] = {{"torch.DoubleStorage", at::kDouble},     {"torch.FloatStorage", at::kFloat},
                                         {"torch.HalfStorage", at::kHalf},         {"torch.LongStorage", at::kLong},
                                         {"torch.BFloat16Storage", at::kBFloat16}, {"torch.IntStorage", at::kInt},
                                         {"torch.ShortStorage", at::kShort},       {"torch.CharStorage", at::kChar},
                                         {"torch.ByteStorage", at::kByte},         {"torch.BoolStorage", at::kBool}};

const StorageType* find_storage_type(const std::string& name) {
  const auto found = std::find_if(std::begin(kStorageTypes), std::end(kStorageTypes),
                                  [&](const auto& type) { return name == type.name; });
  return found == std::end(kStorageTypes) ? nullptr : found;
}

bool is_known(const std::string& name) {
  return name == kOrderedDict || name == kRebuildTensor || name == kRebuildParameter ||
         find_storage_type(name) != nullptr;
}

}  // namespace

// A name alone does nothing: PyTorch Lightning has classes as keys beside the weights. To call one is refused.
void PickleMachine::find_global(const std::string& module, const std::string& name) {
  push(make(Kind::kGlobal));
  stack_.back()->text = module + "." + name;
}

void PickleMachine::refuse_call(const std::string& function) const {
  std::string name = "'" + function + "'";
  for (const PickleNode* node : stack_) {
    if (node->kind != Kind::kGlobal || node->text == function || is_known(node->text)) continue;
    name += " within '" + node->text + "'";
    break;
  }
  refuse("only tensors, storages and ordered dictionaries",
         name + ", which would run code of its own; nothing was run. The same model as .safetensors would do");
}

void PickleMachine::reduce() {
  const std::vector<PickleNode*>& arguments = top(Kind::kTuple)->items;
  pop();
  const std::string& function = top(Kind::kGlobal)->text;
  pop();
  if (!is_known(function)) refuse_call(function);
  if (function == kRebuildTensor) {
    push(rebuild_tensor(arguments));
  } else if (function == kRebuildParameter && !arguments.empty() && arguments[0]->kind == Kind::kTensor) {
    push(arguments[0]);
  } else if (function == kOrderedDict && arguments.empty()) {
    push(make(Kind::kDict));  // the items follow
  } else {
    refuse("arguments that fit " + function, "others");
  }
}

// state_dict() leaves a `_metadata` attribute on its ordered dictionary; attributes are not weights.
void PickleMachine::build() {
  pop();
  top(Kind::kDict);
}

void PickleMachine::load_storage() {
  const std::vector<PickleNode*>& id = top(Kind::kTuple)->items;
  pop();
  // Before torch 1.6 there is a sixth: None, or a storage that is a part of another, which ended with torch 0.4.
  const bool whole = id.size() == 5 || (id.size() == 6 && id[5]->kind == Kind::kNone);
  if (!whole || id[0]->text != "storage" || id[1]->kind != Kind::kGlobal || id[2]->kind != Kind::kString ||
      id[4]->kind != Kind::kInteger || id[4]->integer < 0)
    refuse("('storage', type, key, location, count)", "another persistent id");
  const StorageType* type = find_storage_type(id[1]->text);
  if (type == nullptr) refuse("a type of storage", "'" + id[1]->text + "'");
  PickleNode* storage = make(Kind::kStorage);
  storage->tensor = load_storage_(id[2]->text, type->dtype, id[4]->integer);
  push(storage);
}

// (storage, offset, sizes, strides, requires_grad, hooks): sizes and strides count elements.
PickleNode* PickleMachine::rebuild_tensor(const std::vector<PickleNode*>& arguments) {
  const auto numbers = [&](const PickleNode* tuple) {
    std::vector<int64_t> values;
    if (tuple->kind != Kind::kTuple || tuple->items.size() > 64) refuse("a tuple of up to 64 sizes", "another value");
    for (const PickleNode* item : tuple->items) {
      if (item->kind != Kind::kInteger || item->integer < 0) refuse("sizes and strides from 0 up", "another value");
      values.push_back(item->integer);
    }
    return values;
  };
  if (arguments.size() < 4 || arguments[0]->kind != Kind::kStorage || arguments[1]->kind != Kind::kInteger)
    refuse("(storage, offset, sizes, strides, …)", "other arguments of a tensor");
  const at::Tensor& storage = arguments[0]->tensor;
  const int64_t offset = arguments[1]->integer, available = storage.numel();
  const std::vector<int64_t> sizes = numbers(arguments[2]), strides = numbers(arguments[3]);
  const int64_t count = checked_numel(sizes);
  // More elements than the storage holds: views that repeat memory are no weights, and could be made to fill any
  // memory.
  if (sizes.size() != strides.size() || count < 0 || count > available || offset < 0 || offset > available)
    refuse(fmt::format("a tensor inside its storage of {} elements", available), "one that reaches beyond it");
  PickleNode* node = make(Kind::kTensor);
  if (count == 0) {
    node->tensor = at::empty(sizes, storage.scalar_type());
    return node;
  }
  int64_t last = offset;  // of the last element; sizes and strides fit together only if it stays inside
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] > 1 && strides[d] > (available - last) / (sizes[d] - 1))
      last = available;
    else
      last += (sizes[d] - 1) * strides[d];
    if (last >= available)
      refuse(fmt::format("a tensor inside its storage of {} elements", available), "one that reaches beyond it");
  }
  if (last >= available) refuse("a tensor inside its storage", "one that starts at its end");
  node->tensor = storage.as_strided(sizes, strides, storage.storage_offset() + offset);
  return node;
}

}  // namespace readback::checkpoint
