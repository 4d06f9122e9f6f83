#include "readback/checkpoint/pickle_machine.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "readback/base/error.h"
#include "readback/checkpoint/mapped_file.h"

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

}  // namespace

PickleMachine::PickleMachine(std::string_view program, std::string where, LoadStorage load_storage)
    : program_(program), where_(std::move(where)), load_storage_(std::move(load_storage)) {}

void PickleMachine::refuse(const std::string& expected, const std::string& got) const {
  throw CheckpointError(describe(fmt::format("{}, byte {} of the pickle", where_, position_), expected, got));
}

std::string_view PickleMachine::take(uint64_t count) {
  if (count > program_.size() - position_) refuse("more of the pickle", "its end: the file is damaged");
  const std::string_view bytes = program_.substr(position_, count);
  position_ += count;
  return bytes;
}

std::string_view PickleMachine::take_line() {
  const size_t end = program_.find('\n', position_);
  if (end == std::string_view::npos) refuse("a line", "the end of the pickle");
  const std::string_view line = take(end - position_);
  take(1);
  return line;
}

template <typename T>
T PickleMachine::take_number() {
  T value;
  std::memcpy(&value, take(sizeof value).data(), sizeof value);
  return value;
}

PickleNode* PickleMachine::make(Kind kind) {
  PickleNode& node = nodes_.emplace_back();
  node.kind = kind;
  return &node;
}

PickleNode* PickleMachine::make_integer(int64_t value) {
  PickleNode* node = make(Kind::kInteger);
  node->integer = value;
  return node;
}

PickleNode* PickleMachine::make_string(std::string_view text) {
  PickleNode* node = make(Kind::kString);
  node->text = text;
  return node;
}

PickleNode* PickleMachine::pop() {
  if (stack_.empty() || (!marks_.empty() && stack_.size() == marks_.back())) refuse("a value", "an empty stack");
  PickleNode* node = stack_.back();
  stack_.pop_back();
  return node;
}

std::vector<PickleNode*> PickleMachine::pop_to_mark() {
  if (marks_.empty()) refuse("a mark", "none");
  std::vector<PickleNode*> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
  stack_.resize(marks_.back());
  marks_.pop_back();
  return items;
}

PickleNode* PickleMachine::top(Kind kind) {
  PickleNode* node = pop();
  if (node->kind != kind) refuse("another kind of value", "a damaged pickle");
  push(node);
  return node;
}

void PickleMachine::remember(uint32_t slot) {
  PickleNode* node = pop();
  push(node);
  memo_[slot] = node;
}

void PickleMachine::recall(uint32_t slot) {
  const auto found = memo_.find(slot);
  if (found == memo_.end()) refuse("a value that was stored", fmt::format("slot {}, which is empty", slot));
  push(found->second);
}

const PickleNode* PickleMachine::run() {
  while (step(take_number<unsigned char>())) {
  }
  return pop();
}

bool PickleMachine::step(unsigned char instruction) {
  switch (instruction) {
    case 0x80:  // PROTO
      if (const int protocol = take_number<unsigned char>(); protocol > 5)
        refuse("a protocol up to 5", std::to_string(protocol));
      return true;
    case 0x95:
      take_number<uint64_t>();
      return true;  // FRAME
    case '.':
      return false;  // STOP
    case '(':
      marks_.push_back(stack_.size());
      return true;  // MARK
    case '0':
      pop();
      return true;  // POP
    case 'h':
      recall(take_number<uint8_t>());
      return true;  // BINGET
    case 'j':
      recall(take_number<uint32_t>());
      return true;  // LONG_BINGET
    case 'q':
      remember(take_number<uint8_t>());
      return true;  // BINPUT
    case 'r':
      remember(take_number<uint32_t>());
      return true;  // LONG_BINPUT
    case 0x94:
      remember(static_cast<uint32_t>(memo_.size()));
      return true;  // MEMOIZE
    case 'R':
      reduce();
      return true;  // REDUCE
    case 'b':
      build();
      return true;  // BUILD
    case 'Q':
      load_storage();
      return true;  // BINPERSID
    case 'c': {     // GLOBAL
      const std::string module(take_line());
      find_global(module, std::string(take_line()));
      return true;
    }
    case 0x93: {  // STACK_GLOBAL
      const std::string name = top(Kind::kString)->text;
      pop();
      const std::string module = top(Kind::kString)->text;
      pop();
      find_global(module, name);
      return true;
    }
    default:
      break;
  }
  if (!step_literal(instruction) && !step_container(instruction))
    refuse("an instruction for tensors and containers",
           fmt::format("0x{:02x}, which readback does not follow", instruction));
  return true;
}

bool PickleMachine::step_literal(unsigned char instruction) {
  switch (instruction) {
    case 'N':
      push(make(Kind::kNone));
      return true;  // NONE
    case 0x88:      // NEWTRUE
    case 0x89:      // NEWFALSE
      push(make(Kind::kBool));
      stack_.back()->integer = instruction == 0x88;
      return true;
    case 'J':
      push(make_integer(take_number<int32_t>()));
      return true;  // BININT
    case 'K':
      push(make_integer(take_number<uint8_t>()));
      return true;  // BININT1
    case 'M':
      push(make_integer(take_number<uint16_t>()));
      return true;  // BININT2
    case 0x8a: {    // LONG1
      const std::string_view bytes = take(take_number<uint8_t>());
      if (bytes.size() > sizeof(int64_t)) refuse("integers of at most 8 bytes", std::to_string(bytes.size()));
      int64_t value = !bytes.empty() && (bytes.back() & 0x80) != 0 ? -1 : 0;  // two's complement, sign extended
      std::memcpy(&value, bytes.data(), bytes.size());
      push(make_integer(value));
      return true;
    }
    case 'G':
      take_number<double>(), push(make(Kind::kReal));
      return true;  // BINFLOAT
    case 'U':
      push(make_string(take(take_number<uint8_t>())));
      return true;  // SHORT_BINSTRING
    case 'T':
      push(make_string(take(take_number<uint32_t>())));
      return true;  // BINSTRING
    case 0x8c:
      push(make_string(take(take_number<uint8_t>())));
      return true;  // SHORT_BINUNICODE
    case 'X':
      push(make_string(take(take_number<uint32_t>())));
      return true;  // BINUNICODE
    default:
      return false;
  }
}

bool PickleMachine::step_container(unsigned char instruction) {
  const auto push_tuple = [&](std::vector<PickleNode*> items) {
    push(make(Kind::kTuple));
    stack_.back()->items = std::move(items);
  };
  switch (instruction) {
    case ')':
      push_tuple({});
      return true;  // EMPTY_TUPLE
    case 't':
      push_tuple(pop_to_mark());
      return true;  // TUPLE
    case 0x85:      // TUPLE1
    case 0x86:      // TUPLE2
    case 0x87: {    // TUPLE3
      std::vector<PickleNode*> items(instruction - 0x84);
      for (auto item = items.rbegin(); item != items.rend(); ++item) *item = pop();
      push_tuple(std::move(items));
      return true;
    }
    case ']':
      push(make(Kind::kList));
      return true;  // EMPTY_LIST
    case 'l': {     // LIST
      auto items = pop_to_mark();
      push(make(Kind::kList));
      stack_.back()->items = std::move(items);
      return true;
    }
    case '}':
      push(make(Kind::kDict));
      return true;  // EMPTY_DICT
    case 'd': {     // DICT
      const auto items = pop_to_mark();
      push(make(Kind::kDict));
      add_items(stack_.back(), items);
      return true;
    }
    case 'a': {  // APPEND
      PickleNode* item = pop();
      top(Kind::kList)->items.push_back(item);
      return true;
    }
    case 'e': {  // APPENDS
      const auto items = pop_to_mark();
      auto& list = top(Kind::kList)->items;
      list.insert(list.end(), items.begin(), items.end());
      return true;
    }
    case 's': {  // SETITEM
      PickleNode* value = pop();
      PickleNode* key = pop();
      add_items(top(Kind::kDict), {key, value});
      return true;
    }
    case 'u': {  // SETITEMS
      const auto items = pop_to_mark();
      add_items(top(Kind::kDict), items);
      return true;
    }
    default:
      return false;
  }
}

void PickleMachine::add_items(PickleNode* container, const std::vector<PickleNode*>& items) {
  if (items.size() % 2 != 0) refuse("keys with values", "a key alone");
  container->items.insert(container->items.end(), items.begin(), items.end());
}

void PickleMachine::find_global(const std::string& module, const std::string& name) {
  const std::string full = module + "." + name;
  if (full != kOrderedDict && full != kRebuildTensor && full != kRebuildParameter && find_storage_type(full) == nullptr)
    refuse("only tensors, storages and ordered dictionaries",
           "'" + full + "', which would run code of its own; nothing was run");
  push(make(Kind::kGlobal));
  stack_.back()->text = full;
}

void PickleMachine::reduce() {
  const std::vector<PickleNode*> arguments = top(Kind::kTuple)->items;
  pop();
  const std::string function = top(Kind::kGlobal)->text;
  pop();
  if (function == kRebuildTensor) {
    push(rebuild_tensor(arguments));
  } else if (function == kRebuildParameter && !arguments.empty() && arguments[0]->kind == Kind::kTensor) {
    push(arguments[0]);
  } else if (function == kOrderedDict && arguments.size() <= 1) {
    PickleNode* dict = make(Kind::kDict);
    if (!arguments.empty()) {
      if (arguments[0]->kind != Kind::kList) refuse("a list of pairs", "another value");
      for (const PickleNode* pair : arguments[0]->items) {
        if (pair->items.size() != 2 || (pair->kind != Kind::kTuple && pair->kind != Kind::kList))
          refuse("a list of pairs", "another list");
        add_items(dict, pair->items);
      }
    }
    push(dict);
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
  const std::vector<PickleNode*> id = top(Kind::kTuple)->items;
  pop();
  if (id.size() != 5 || id[0]->text != "storage" || id[1]->kind != Kind::kGlobal || id[2]->kind != Kind::kString ||
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
