#include "readback/checkpoint/pickle_machine.h"

#include "tests/checkpoint/testing.h"

namespace readback::checkpoint {
namespace {

using namespace std::string_literals;

// A stack machine over eight floats in storage "0".
struct Interpreter {
  explicit Interpreter(const std::string& program)
      : machine(program, "test", [](const std::string& key, at::ScalarType dtype, int64_t count) {
          if (key != "0" || count != 8) throw CheckpointError("no such storage");
          return golden_values({8}, dtype);
        }) {}
  PickleMachine machine;
};

void expect_refused(const std::string& program, const std::string& part) {
  expect_contains(error_of<CheckpointError>([&] { Interpreter(program).machine.run(); }), part);
}

const std::string kStorage = "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"s + "0X\3\0\0\0cpuK\x08tQ"s;

// A float tensor with this offset, and these sizes and strides as pickled tuples.
std::string tensor_program(const std::string& offset, const std::string& sizes, const std::string& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + kStorage + offset + sizes + strides + "\x89)tR.";
}

TEST(PickleMachine, ChecksEveryViewOfAStorage) {
  const auto shape_of = [](const std::string& program) {
    Interpreter run(program);
    return run.machine.run()->tensor.sizes().vec();
  };
  EXPECT_EQ(shape_of(tensor_program("K\0"s, "K\x02K\x04\x86", "K\x04K\x01\x86")), (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(shape_of(tensor_program("K\x07", ")", ")")), (std::vector<int64_t>{}));
  EXPECT_EQ(shape_of(tensor_program("K\x08", "K\0\x85"s, "K\x01\x85")), (std::vector<int64_t>{0}));
  const std::string huge = "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x3f"s;  // 2^62 - 1
  const std::string beyond = "reaches beyond it", range = "from 0 up";
  expect_refused(tensor_program("K\x01", "K\x02K\x04\x86", "K\x04K\x01\x86"), beyond);
  expect_refused(tensor_program("K\x08", ")", ")"), "starts at its end");
  expect_refused(tensor_program("K\x09", "K\0\x85"s, "K\x01\x85"), beyond);
  expect_refused(tensor_program("J\xff\xff\xff\xff", "K\x01\x85", "K\x01\x85"), beyond);
  expect_refused(tensor_program("K\0"s, "K\x09\x85", "K\0\x85"s), beyond);
  expect_refused(tensor_program("K\0"s, "K\x02\x85", "J\xff\xff\xff\xff\x85"), range);
  expect_refused(tensor_program("K\0"s, "J\xff\xff\xff\xff\x85", "K\x01\x85"), range);
  expect_refused(tensor_program("K\0"s, "K\x02\x85", huge + "\x85"), beyond);
  expect_refused(tensor_program("K\0"s, huge + huge + "\x86", "K\0K\0\x86"s), beyond);
  expect_refused(tensor_program("K\0"s, "K\x02\x85", "K\x01K\x01\x86"), beyond);
  expect_refused(tensor_program("N", "K\x02\x85", "K\x01\x85"), "other arguments");
  expect_refused(tensor_program("K\0"s, "]", ")"), "tuple of up to 64 sizes");
}

TEST(PickleMachine, RefusesProgramsThatMakeNoSense) {
  expect_refused("", "its end");
  expect_refused(".", "empty stack");
  expect_refused("N0.", "empty stack");
  expect_refused("(.", "empty stack");
  expect_refused("t.", "a mark");
  expect_refused("h\x05.", "slot 5");
  expect_refused("q\0."s, "empty stack");
  expect_refused("}K\x01s.", "empty stack");
  expect_refused("](K\x01u.", "kind of value");
  expect_refused("}(K\x01u.", "a key alone");
  expect_refused("NNR.", "kind of value");
  expect_refused("N)R.", "kind of value");
  expect_refused("NQ.", "kind of value");
  expect_refused(")Q.", "persistent id");
  expect_refused("X\xff\xff\xff\xffoops.", "its end");
  expect_refused("X\xff\xff\xff\x7f", "its end");
  expect_refused("\x8a\x09" + std::string(9, 'x') + ".", "at most 8 bytes");
  expect_refused("ctorch\nTensor\n)R.", "'torch.Tensor', which would run");
  expect_refused("ccollections\nOrderedDict", "a line");
  expect_refused("ccollections\nOrderedDict\nN\x85R.", "arguments that fit");
  expect_refused("ctorch\nFloatStorage\n)R.", "arguments that fit");
  expect_refused("X\2\0\0\0osX\6\0\0\0system\x93)R."s, "'os.system', which would run");
  expect_refused("cos\nsystem\n(cos\nremove\n)Rt.", "'os.remove' within 'os.system'");
  expect_refused("i", "0x69");     // INST
  expect_refused("\x81", "0x81");  // NEWOBJ
  expect_refused("\x82", "0x82");  // EXT1
  expect_refused("\x80\x06N.", "protocol up to 5");
}

TEST(PickleMachine, ReadsIntegersOfEveryLength) {
  const auto integer = [](const std::string& program) { return Interpreter(program + ".").machine.run()->integer; };
  EXPECT_EQ(integer("K\xff"), 255);
  EXPECT_EQ(integer("M\xff\xff"), 65535);
  EXPECT_EQ(integer("J\xfe\xff\xff\xff"), -2);
  EXPECT_EQ(integer("\x8a\0"s), 0);
  EXPECT_EQ(integer("\x8a\x01\xff"), -1);
  EXPECT_EQ(integer("\x8a\x02\xff\0"s), 255);
  EXPECT_EQ(integer("\x8a\x08\0\0\0\0\0\0\0\x80"s), INT64_MIN);
}

}  // namespace
}  // namespace readback::checkpoint
