// The few instructions of Python's pickle that tensors and containers need. A pickle is a program for a stack machine;
// this one has no instruction that imports or calls: a call of a name that is not in its table ends the reading.
// The instructions are told in CPython's Lib/pickletools.py.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace readback::checkpoint {

struct PickleNode {
  enum class Kind { kNone, kBool, kInteger, kReal, kString, kTuple, kList, kDict, kGlobal, kStorage, kTensor };
  Kind kind = Kind::kNone;
  int64_t integer = 0;             // kBool, kInteger
  std::string text;                // kString; kGlobal: "module.name"
  std::vector<PickleNode*> items;  // kTuple, kList; kDict: key, value, key, value, …
  at::Tensor tensor;               // kTensor; kStorage: one dimension
};

class PickleMachine {
 public:
  // `load_storage(key, dtype, count)` gives the elements of a storage as a 1-dimensional tensor.
  using LoadStorage = std::function<at::Tensor(const std::string& key, at::ScalarType dtype, int64_t count)>;
  PickleMachine(std::string_view program, std::string where, LoadStorage load_storage);

  // The object that the pickle describes; it lives as long as the machine. Errors: CheckpointError.
  const PickleNode* run();
  size_t position() const { return position_; }  // after run(): where the pickle ended in the program

 private:
  using Kind = PickleNode::Kind;
  [[noreturn]] void refuse(const std::string& expected, const std::string& got) const;
  std::string_view take(uint64_t count);
  std::string_view take_line();
  template <typename T>
  T take_number();

  PickleNode* make(Kind kind);
  PickleNode* make_integer(int64_t value);
  PickleNode* make_string(std::string_view text);
  void push(PickleNode* node) { stack_.push_back(node); }
  PickleNode* pop();
  std::vector<PickleNode*> pop_to_mark();
  PickleNode* top(Kind kind);  // which must be of this kind
  void remember(uint32_t slot);
  void recall(uint32_t slot);

  bool step(unsigned char instruction);  // false at the end
  bool step_literal(unsigned char instruction);
  bool step_container(unsigned char instruction);
  void find_global(const std::string& module, const std::string& name);
  void reduce();
  [[noreturn]] void refuse_call(const std::string& function) const;
  void build();
  void load_storage();
  PickleNode* rebuild_tensor(const std::vector<PickleNode*>& arguments);
  void add_items(PickleNode* container, const std::vector<PickleNode*>& items);

  std::string_view program_;
  std::string where_;
  LoadStorage load_storage_;
  size_t position_ = 0;
  std::deque<PickleNode> nodes_;  // owns all, so that containers may hold themselves
  std::vector<PickleNode*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, PickleNode*> memo_;
};

}  // namespace readback::checkpoint
