#include "readback/checkpoint/pickle.h"

#include "readback/checkpoint/zip_archive.h"
#include "tests/checkpoint/testing.h"
#include "tests/source_dir.h"

namespace readback::checkpoint {
namespace {

using namespace std::string_literals;

// What tools/reference/checkpoint.py saves as a state dictionary.
void expect_state(const TensorMap& state) {
  EXPECT_EQ(state.size(), std::size(kEveryDtype) + 9);
  for (const auto& [name, dtype] : kEveryDtype)
    expect_same(state.at(std::string("of.") + name), golden_values({3, 5}, dtype), name);
  expect_same(state.at("embed.weight"), golden_values({6, 4}), "embed.weight");
  expect_same(state.at("head.weight"), golden_values({6, 4}), "head.weight");
  EXPECT_EQ(state.at("embed.weight").data_ptr(), state.at("head.weight").data_ptr()) << "tied weights share memory";
  expect_same(state.at("position_ids"), at::arange(5, at::kLong).unsqueeze(0), "position_ids");
  const at::Tensor whole = golden_values({10, 6});
  expect_same(state.at("view.transposed"), whole.t(), "view.transposed");
  expect_same(state.at("view.row"), whole[7], "view.row");
  expect_same(state.at("view.steps"), whole.slice(0, 1, 10, 3).slice(1, 0, 6, 2), "view.steps");
  expect_same(state.at("parameter"), golden_values({2, 3}), "parameter");
  EXPECT_FALSE(state.at("parameter").requires_grad());
  expect_same(state.at("scalar"), golden_values({}), "scalar");
  expect_same(state.at("empty"), golden_values({0, 4}), "empty");
}

TEST(LoadPickle, ReadsAStateDictionary) { expect_state(load_pickle(kGoldens / "pickled/pytorch_model.bin")); }

TEST(LoadPickle, ReadsProtocol4) { expect_state(load_pickle(kGoldens / "protocol4.bin")); }

TEST(LoadPickle, ReadsTheFormatBeforeTorch16) { expect_state(load_pickle(kGoldens / "before_torch_1_6.bin")); }

TEST(LoadPickle, ReadsABareTensor) {
  const TensorMap tensors = load_pickle(kGoldens / "bare.pth");
  ASSERT_EQ(tensors.size(), 1u);
  expect_same(tensors.at(""), golden_values({9}, at::kLong), "bare");
}

TEST(LoadPickle, JoinsTheNamesOfNestedContainers) {
  const TensorMap tensors = load_pickle(kGoldens / "nested.pth");
  const std::map<std::string, std::vector<int64_t>> expected{{"state.0.exp_avg", {2, 2}},
                                                             {"state.1.exp_avg", {3}},
                                                             {"history.0", {2}},
                                                             {"history.1.0", {3}},
                                                             {"history.1.1", {4}}};
  ASSERT_EQ(tensors.size(), expected.size());
  for (const auto& [name, shape] : expected) expect_same(tensors.at(name), golden_values(shape), name);
}

TEST(LoadPickle, ReadsTheAuthorsTokenMap) {
  SKIP_WITHOUT_SHARED_DATA("paper-protocol/reindex.pth");
  const auto path = tests::shared_data("paper-protocol/reindex.pth");
  const TensorMap tensors = load_pickle(path);
  ASSERT_EQ(tensors.size(), 1u);
  const at::Tensor map = tensors.at("");
  EXPECT_EQ(map.scalar_type(), at::kLong);
  EXPECT_EQ(map.sizes(), at::IntArrayRef({49408}));
  EXPECT_GE(map.min().item<int64_t>(), 0);
}

TEST(LoadPickle, RunsNothing) {
  const std::filesystem::path hostile = kGoldens / "hostile";
  const auto message = [&](const char* name) {
    return error_of<CheckpointError>([&] { load_pickle(hostile / name); });
  };
  expect_contains(message("os_system.bin"), "'posix.system', which would run code of its own; nothing was run. The same model as .safetensors would do");
  expect_contains(message("os_system_legacy.bin"), "'posix.system'");
  expect_contains(message("eval.bin"), "eval', which would run");
  expect_contains(message("other_class.bin"), "'collections.Counter'");
  expect_contains(message("numpy.bin"), "'numpy");
  EXPECT_FALSE(std::filesystem::exists("readback-ran-a-pickle"));
}

TEST(LoadPickle, ExplainsOtherFormats) {
  const std::filesystem::path hostile = kGoldens / "hostile";
  const auto message = [](const std::filesystem::path& path) {
    return error_of<CheckpointError>([&] { load_pickle(path); });
  };
  expect_contains(message(hostile / "compressed.bin"), "compressed");
  expect_contains(message(hostile / "no_pickle.bin"), "without data.pkl");
  expect_contains(message(kGoldens / "every_dtype.safetensors"), "another format");
  expect_contains(message(kGoldens / "missing"), "No such file");
}

class Pickle : public TemporaryFolder {};

TEST_F(Pickle, RefusesTruncatedFiles) {
  for (const char* name : {"bare.pth", "before_torch_1_6.bin"}) {
    const std::string whole = read_file(kGoldens / name);
    for (size_t size = 0; size < whole.size(); ++size)
      EXPECT_THROW(load_pickle(file(whole.substr(0, size))), CheckpointError) << name << " " << size;
  }
}

TEST_F(Pickle, DamagedBytesGiveAnErrorOrAnotherTensorButNothingElse) {
  for (const char* name : {"bare.pth", "before_torch_1_6.bin"}) {
    const std::string whole = read_file(kGoldens / name);
    int refused = 0;
    for (size_t i = 0; i < whole.size(); ++i) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ (i % 2 == 0 ? '\xff' : '\x01'));
      try {
        for (const auto& [key, tensor] : load_pickle(file(damaged))) tensor.sum();
      } catch (const CheckpointError&) {
        ++refused;
      }
    }
    EXPECT_GT(refused, 100) << name;
  }
}

// A ZIP file of these stored records.
std::string archive(const std::vector<std::pair<std::string, std::string>>& records) {
  const auto number = [](uint64_t value, size_t bytes) {
    return std::string(reinterpret_cast<const char*>(&value), bytes);
  };
  std::string file, directory;
  for (const auto& [name, bytes] : records) {
    const std::string sizes =
        number(0, 4) + number(bytes.size(), 4) + number(bytes.size(), 4) + number(name.size(), 2) + number(0, 2);
    directory += "PK\1\2" + std::string(12, '\0') + sizes + std::string(10, '\0') + number(file.size(), 4) + name;
    file += "PK\3\4" + std::string(10, '\0') + sizes + name + bytes;
  }
  return file + directory + "PK\5\6" + std::string(4, '\0') + number(records.size(), 2) + number(records.size(), 2) +
         number(directory.size(), 4) + number(file.size(), 4) + number(0, 2);
}

// The same with a pickle of this program only.
std::string archive(const std::string& program) { return archive({{"archive/data.pkl", program}}); }

// A byte tensor of two elements in the record data/0.
const std::string kTensor = "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nByteStorage\nX\1\0\0\0"s +
                            "0X\3\0\0\0cpuK\2tQK\0K\2\x85K\1\x85\x89)tR"s;

TEST_F(Pickle, BoundsContainersThatHoldThemselves) {
  EXPECT_TRUE(load_pickle(file(archive("}."))).empty());
  const auto message = [&](const std::string& program) {
    return error_of<CheckpointError>([&] { load_pickle(file(archive(program))); });
  };
  expect_contains(message("]q\0h\0a."s), "nested without end");  // a list that is its own item
  std::string doubling = "]q\0"s;                                // thirty lists, each holding the one before twice
  for (char i = 1; i <= 15; ++i)
    doubling += "]q"s + i + "(" + std::string(100, 'N') + "h"s + char(i - 1) + "h" + char(i - 1) + "e";
  expect_contains(message(doubling + "."), "nested without end");
  expect_contains(message("N."), "tensors or a container");
  expect_contains(message("}NNs."), "names or numbers as keys");
  expect_contains(message("ctorch\nFloatStorage\n."), "tensors or a container");
  expect_contains(message(kTensor + "."), "storage '0': expected its data in the file, got none");
}

TEST_F(Pickle, RefusesTwoTensorsOfOneName) {
  const auto load = [&](const std::string& program) {
    return load_pickle(file(archive({{"x/data.pkl", program}, {"x/data/0", "\1\2"}})));
  };
  const std::string a = "X\1\0\0\0a"s, b = "X\1\0\0\0b"s, a_b = "X\3\0\0\0a.b"s;
  EXPECT_EQ(load("}(" + a_b + kTensor + a + kTensor + "u.").size(), 2u);
  expect_contains(error_of<CheckpointError>([&] { load("}(" + a_b + kTensor + a + "}" + b + kTensor + "su."); }),
                  "'a.b' twice");
}

TEST_F(Pickle, RefusesStoragesThatDoNotFit) {
  const auto message = [&](const std::vector<std::pair<std::string, std::string>>& more) {
    std::vector<std::pair<std::string, std::string>> records{{"x/data.pkl", kTensor + "."}};
    records.insert(records.end(), more.begin(), more.end());
    return error_of<CheckpointError>([&] { load_pickle(file(archive(records))); });
  };
  expect_contains(message({{"x/data/0", "\1"}}), "expected 2 elements of 1 bytes, got 1 bytes");
  expect_contains(message({{"x/data/0", "\1\2\3"}}), "got 3 bytes");
  expect_contains(message({{"y/data/0", "\1\2"}}), "got none");
  expect_contains(message({{"x/data/0", "\1\2"}, {"x/byteorder", "big"}}), "another byte order");
  expect_contains(message({{"x/data/0", "\1\2"}, {"x/data/0", "\1\2"}}), "'x/data/0' twice");
}

TEST(ZipDirectory, RefusesDamage) {
  const std::string whole = archive("}.");
  EXPECT_EQ(read_zip_directory(whole, "test").at("archive/data.pkl").size, 2u);
  const auto changed = [&](size_t position, const std::string& bytes) {
    return std::string(whole).replace(position, bytes.size(), bytes);
  };
  const size_t central = whole.find("PK\1\2"), end = whole.find("PK\5\6");
  for (const std::string& damaged :
       {changed(0, "XX"), changed(central, "XX"), changed(end, "XX"), changed(central + 10, "\x08"s),
        changed(central + 8, "\1"s), changed(central + 24, "\xff\xff\xff\x7f"s),
        changed(central + 42, "\xff\xff\xff\x7f"s), changed(central + 20, std::string(8, char(255))),
        changed(end + 16, "\xff\xff\xff\x7f"s), changed(end + 10, "\2"s), changed(26, "\xff\xff\xff\xff"s), "PK"s, ""s})
    EXPECT_THROW(read_zip_directory(damaged, "test"), CheckpointError);
}

}  // namespace
}  // namespace readback::checkpoint
