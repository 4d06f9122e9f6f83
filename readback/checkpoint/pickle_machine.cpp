#include "readback/checkpoint/pickle_machine.h"

#include <fmt/format.h>

#include <cstring>

#include "readback/base/error.h"

namespace readback::checkpoint {

namespace {

// Names and codes of pickletools.
enum Instruction : unsigned char {
  kProto = 0x80,
  kFrame = 0x95,
  kStop = '.',
  kMark = '(',
  kPop = '0',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kMemoize = 0x94,
  kReduce = 'R',
  kBuild = 'b',
  kBinPersId = 'Q',
  kGlobal = 'c',
  kStackGlobal = 0x93,
  kNone = 'N',
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kLong1 = 0x8a,
  kBinFloat = 'G',
  kShortBinString = 'U',
  kBinString = 'T',
  kShortBinUnicode = 0x8c,
  kBinUnicode = 'X',
  kEmptyTuple = ')',
  kTuple = 't',
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kEmptyList = ']',
  kList = 'l',
  kEmptyDict = '}',
  kDict = 'd',
  kAppend = 'a',
  kAppends = 'e',
  kSetItem = 's',
  kSetItems = 'u'
};

constexpr size_t kMaxNodes = 4'000'000;  // of a few hundred bytes each; a large model has some ten thousand

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
  if (nodes_.size() == kMaxNodes) refuse("a few tensors and containers", "millions of values");
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
    case kProto:
      if (const int protocol = take_number<unsigned char>(); protocol > 5)
        refuse("a protocol up to 5", std::to_string(protocol));
      return true;
    case kFrame:
      take_number<uint64_t>();
      return true;
    case kStop:
      return false;
    case kMark:
      marks_.push_back(stack_.size());
      return true;
    case kPop:
      pop();
      return true;
    case kBinGet:
      recall(take_number<uint8_t>());
      return true;
    case kLongBinGet:
      recall(take_number<uint32_t>());
      return true;
    case kBinPut:
      remember(take_number<uint8_t>());
      return true;
    case kLongBinPut:
      remember(take_number<uint32_t>());
      return true;
    case kMemoize:
      remember(static_cast<uint32_t>(memo_.size()));
      return true;
    case kReduce:
      reduce();
      return true;
    case kBuild:
      build();
      return true;
    case kBinPersId:
      load_storage();
      return true;
    case kGlobal: {
      const std::string module(take_line());
      find_global(module, std::string(take_line()));
      return true;
    }
    case kStackGlobal: {
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
    case kNone:
      push(make(Kind::kNone));
      return true;
    case kNewTrue:
    case kNewFalse:
      push(make(Kind::kBool));
      stack_.back()->integer = instruction == kNewTrue;
      return true;
    case kBinInt:
      push(make_integer(take_number<int32_t>()));
      return true;
    case kBinInt1:
      push(make_integer(take_number<uint8_t>()));
      return true;
    case kBinInt2:
      push(make_integer(take_number<uint16_t>()));
      return true;
    case kLong1: {
      const std::string_view bytes = take(take_number<uint8_t>());
      if (bytes.size() > sizeof(int64_t)) refuse("integers of at most 8 bytes", std::to_string(bytes.size()));
      int64_t value = !bytes.empty() && (bytes.back() & 0x80) != 0 ? -1 : 0;  // two's complement, sign extended
      std::memcpy(&value, bytes.data(), bytes.size());
      push(make_integer(value));
      return true;
    }
    case kBinFloat:
      take_number<double>(), push(make(Kind::kReal));
      return true;
    case kShortBinString:
      push(make_string(take(take_number<uint8_t>())));
      return true;
    case kBinString:
      push(make_string(take(take_number<uint32_t>())));
      return true;
    case kShortBinUnicode:
      push(make_string(take(take_number<uint8_t>())));
      return true;
    case kBinUnicode:
      push(make_string(take(take_number<uint32_t>())));
      return true;
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
    case kEmptyTuple:
      push_tuple({});
      return true;
    case kTuple:
      push_tuple(pop_to_mark());
      return true;
    case kTuple1:
    case kTuple2:
    case kTuple3: {
      std::vector<PickleNode*> items(instruction - kTuple1 + 1);
      for (auto item = items.rbegin(); item != items.rend(); ++item) *item = pop();
      push_tuple(std::move(items));
      return true;
    }
    case kEmptyList:
      push(make(Kind::kList));
      return true;
    case kList: {
      auto items = pop_to_mark();
      push(make(Kind::kList));
      stack_.back()->items = std::move(items);
      return true;
    }
    case kEmptyDict:
      push(make(Kind::kDict));
      return true;
    case kDict: {
      const auto items = pop_to_mark();
      push(make(Kind::kDict));
      add_items(stack_.back(), items);
      return true;
    }
    case kAppend: {
      PickleNode* item = pop();
      top(Kind::kList)->items.push_back(item);
      return true;
    }
    case kAppends: {
      const auto items = pop_to_mark();
      auto& list = top(Kind::kList)->items;
      list.insert(list.end(), items.begin(), items.end());
      return true;
    }
    case kSetItem: {
      PickleNode* value = pop();
      PickleNode* key = pop();
      add_items(top(Kind::kDict), {key, value});
      return true;
    }
    case kSetItems: {
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

}  // namespace readback::checkpoint
