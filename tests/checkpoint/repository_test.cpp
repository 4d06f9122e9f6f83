#include "readback/checkpoint/repository.h"

#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

#include "readback/base/sha256.h"
#include "tests/checkpoint/testing.h"

namespace readback::checkpoint {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

// The cache's variables point into the test's folder and are put back afterwards.
class RepositoryTest : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) {
      if (const char* value = std::getenv(name)) before_[name] = value;
      ::unsetenv(name);
    }
  }
  void TearDown() override {
    for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) {
      if (before_.contains(name))
        ::setenv(name, before_[name].c_str(), 1);
      else
        ::unsetenv(name);
    }
    TemporaryFolder::TearDown();
  }
  void put(const fs::path& path, const std::string& bytes) const {
    fs::create_directories((folder_ / path).parent_path());
    file(bytes, path.string());
  }
  // <cache>/models--owner--name with one commit, told apart by `mark`.
  void put_cached(const fs::path& cache, const std::string& commit, const std::string& mark) const {
    put(cache / "models--owner--name" / "snapshots" / commit / "config.json", "{\"mark\": \"" + mark + "\"}");
  }
  std::map<std::string, std::string> before_;
};

TEST_F(RepositoryTest, AFolder) {
  put("repo/config.json", R"({"a": 1})");
  put("repo/unet/config.json", R"({"b": 2})");
  const Repository repository((folder_ / "repo").string());
  EXPECT_EQ(repository.path(), folder_ / "repo");
  EXPECT_TRUE(repository.has("config.json"));
  EXPECT_TRUE(repository.has("unet/config.json"));
  EXPECT_FALSE(repository.has("unet"));
  EXPECT_FALSE(repository.has("model_index.json"));
  EXPECT_EQ(repository.json(), (nlohmann::json{{"a", 1}}));
  EXPECT_EQ(repository.json("unet/config.json"), (nlohmann::json{{"b", 2}}));
  put("repo/broken.json", "{");
  EXPECT_THROW(repository.json("broken.json"), CheckpointError);
  expect_contains(error_of<CheckpointError>([&] { repository.json("model_index.json"); }),
                  "expected a Hugging Face repository with model_index.json, got a folder without it");
  EXPECT_THROW(Repository((folder_ / "repo/config.json").string()), CheckpointError);
}

TEST_F(RepositoryTest, AHubIdInTheCacheOfEachVariable) {
  const std::pair<const char*, const char*> layouts[] = {{"HF_HUB_CACHE", "cache"},
                                                         {"HUGGINGFACE_HUB_CACHE", "cache"},
                                                         {"HF_HOME", "cache/hub"},
                                                         {"XDG_CACHE_HOME", "cache/huggingface/hub"},
                                                         {"HOME", "cache/.cache/huggingface/hub"}};
  for (const auto& [variable, below] : layouts) {
    put_cached(below, "0123abcd", variable);
    put(fs::path(below) / "models--owner--name/refs/main", "0123abcd");
    EXPECT_THROW(Repository("owner/name"), CheckpointError) << variable;
    ::setenv(variable, (folder_ / "cache").c_str(), 1);
    EXPECT_EQ(Repository("owner/name").json()["mark"], variable);
    EXPECT_EQ(Repository("owner/name").name(), "owner/name");
    ::unsetenv(variable);
    fs::remove_all(folder_ / "cache");
  }
}

TEST_F(RepositoryTest, TheCommitOfTheMainBranch) {
  ::setenv("HF_HOME", folder_.c_str(), 1);
  put_cached("hub", "old", "old");
  EXPECT_EQ(Repository("owner/name").json()["mark"], "old") << "the only snapshot, without a reference";
  put_cached("hub", "new", "new");
  EXPECT_THROW(Repository("owner/name"), CheckpointError) << "two snapshots and no reference";
  put("hub/models--owner--name/refs/main", "new\n");
  EXPECT_EQ(Repository("owner/name").json()["mark"], "new");
  put("hub/models--owner--name/refs/main", "../../../elsewhere");
  EXPECT_THROW(Repository("owner/name"), CheckpointError);
}

TEST_F(RepositoryTest, ErrorsListWhereItLooked) {
  ::setenv("HF_HUB_CACHE", (folder_ / "one").c_str(), 1);
  ::setenv("HF_HOME", (folder_ / "two").c_str(), 1);
  const std::string message = error_of<CheckpointError>([] { Repository("owner/name"); });
  expect_contains(message, "the folder owner/name");
  expect_contains(message, (folder_ / "one").string());
  expect_contains(message, (folder_ / "two/hub").string());
  for (const char* name : {"", "../x", "/absolutely/missing", "a/b/c", "./missing", "owner/"})
    EXPECT_THROW(Repository{name}, CheckpointError) << name;
}

TEST_F(RepositoryTest, TensorsOfEveryLayout) {
  const TensorMap sharded = Repository((kGoldens / "sharded").string()).tensors();
  ASSERT_EQ(sharded.size(), 6u);
  for (int i = 0; i < 6; ++i)
    expect_same(sharded.at("layer." + std::to_string(i) + ".weight"), golden_values({8, 4 + i}), std::to_string(i));
  EXPECT_EQ(Repository((kGoldens / "pickled").string()).tensors().size(), std::size(kEveryDtype) + 9);
  const TensorMap pickled_shards = Repository(kGoldens.string()).tensors("pickled-shards");
  ASSERT_EQ(pickled_shards.size(), 4u);
  expect_same(pickled_shards.at("layer.3.weight"), golden_values({3, 6}), "layer.3.weight");

  for (const char* name : {"model.safetensors", "diffusion_pytorch_model.safetensors"}) {
    fs::create_directories(folder_ / "unet");
    fs::copy(kGoldens / "every_dtype.safetensors", folder_ / "unet" / name);
    EXPECT_EQ(Repository(folder_.string()).tensors("unet").size(), std::size(kEveryDtype) + 3) << name;
    fs::remove_all(folder_ / "unet");
  }
  expect_contains(error_of<CheckpointError>([&] { Repository(folder_.string()).tensors(); }), "a folder without any");
  expect_contains(error_of<CheckpointError>([&] { Repository(folder_.string()).tensors("vae"); }), "no such folder");
}

// model.fp16.safetensors and its like, as from_pretrained(variant="fp16") of transformers and diffusers takes them.
TEST_F(RepositoryTest, Variants) {
  const auto values = [&](const std::string& variant, const std::string& part = "") {
    return Repository(folder_.string(), variant).tensors(part).at("a");
  };
  const at::Tensor plain = golden_values({3}), half = golden_values({4}).to(at::kHalf);
  save_safetensors({{"a", half}}, folder_ / "model.fp16.safetensors");
  expect_same(values(""), half, "the only files are taken");
  EXPECT_EQ(Repository(folder_.string()).title(), folder_.string() + " (fp16 files)");
  save_safetensors({{"a", plain}}, folder_ / "model.safetensors");
  EXPECT_EQ(Repository(folder_.string()).title(), folder_.string());
  expect_same(values(""), plain, "files without a variant are what is meant");
  expect_same(values("fp16"), half, "the variant is asked for");
  const std::string missing = error_of<CheckpointError>([&] { Repository(folder_.string(), "bf16"); });
  expect_contains(missing,
                  folder_.string() + ", variant: expected one that files of its weights are of: fp16, got bf16");
  expect_contains(missing, "no file such as model.bf16.safetensors");
  expect_contains(missing, "or leave variant out");
  EXPECT_NE(Repository(folder_.string()).digest(), Repository(folder_.string(), "fp16").digest());
  EXPECT_EQ(Repository(folder_.string(), "fp16").title(), folder_.string() + " (fp16 files)");

  // Parts of a pipeline, whole and in shards; either spelling of a shard's name.
  for (const char* shard : {"diffusion_pytorch_model.fp16-00001-of-00001.safetensors",
                            "diffusion_pytorch_model-00001-of-00001.fp16.safetensors"}) {
    fs::create_directories(folder_ / "unet");
    save_safetensors({{"a", half}}, folder_ / "unet" / shard);
    put("unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        "{\"weight_map\": {\"a\": \"" + std::string(shard) + "\"}}");
    expect_same(values("", "unet"), half, shard);
    expect_same(values("fp16", "unet"), half, shard);
    fs::remove_all(folder_ / "unet");
    expect_contains(error_of<CheckpointError>([&] { Repository(folder_.string(), "fp61"); }), "are of: fp16, got fp61");
  }
  fs::create_directories(folder_ / "vae");
  fs::copy(kGoldens / "pickled/pytorch_model.bin", folder_ / "vae/pytorch_model.fp16.bin");
  EXPECT_EQ(Repository(folder_.string()).tensors("vae").size(), std::size(kEveryDtype) + 9);
  fs::copy(kGoldens / "pickled/pytorch_model.bin", folder_ / "vae/pytorch_model.non_ema.bin");
  const std::string several = error_of<CheckpointError>([&] { Repository(folder_.string()).tensors("vae"); });
  expect_contains(several, "only variants: fp16, non_ema");
  expect_contains(several, "Choose one of them as variant");
  EXPECT_EQ(Repository(folder_.string(), "non_ema").tensors("vae").size(), std::size(kEveryDtype) + 9);
  expect_same(values("non_ema"), plain, "a part without the variant has files that no variant names");
  expect_contains(error_of<CheckpointError>([&] { Repository(folder_.string(), "bf16"); }), "are of: fp16, non_ema");

  fs::create_directories(folder_ / "plain");
  save_safetensors({{"a", plain}}, folder_ / "plain/model.safetensors");
  const std::string none = error_of<CheckpointError>([&] { Repository((folder_ / "plain").string(), "fp16"); });
  expect_contains(none, "expected none: no file of its weights is of a variant, got fp16");
  expect_contains(none, "Leave variant out");
}

TEST_F(RepositoryTest, ShardsOfAPartOfAPipeline) {
  fs::create_directories(folder_ / "unet");
  save_safetensors({{"a", golden_values({2})}}, folder_ / "unet/diffusion_pytorch_model-00001-of-00002.safetensors");
  save_safetensors({{"b", golden_values({3})}}, folder_ / "unet/diffusion_pytorch_model-00002-of-00002.safetensors");
  put("unet/diffusion_pytorch_model.safetensors.index.json",
      R"({"metadata": {"total_size": 20},
          "weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors",
                         "b": "diffusion_pytorch_model-00002-of-00002.safetensors"}})");
  EXPECT_EQ(Repository(folder_.string()).tensors("unet").size(), 2u);
  fs::remove(folder_ / "unet/diffusion_pytorch_model-00002-of-00002.safetensors");
  const std::string message = error_of<CheckpointError>([&] { Repository(folder_.string()).tensors("unet"); });
  expect_contains(message, "the shard diffusion_pytorch_model-00002-of-00002.safetensors beside it");
  expect_contains(message, "fetch that file too");
  // A file that is cut off, and one that Git LFS left a pointer of.
  const std::string whole = read_file(folder_ / "unet/diffusion_pytorch_model-00001-of-00002.safetensors");
  put("cut/model.safetensors", whole.substr(0, whole.size() - 2));
  expect_contains(error_of<CheckpointError>([&] { Repository((folder_ / "cut").string()).tensors(); }),
                  "The file may have been cut off: fetch it again");
  put("cut/model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n");
  expect_contains(error_of<CheckpointError>([&] { Repository((folder_ / "cut").string()).tensors(); }),
                  "a pointer of Git LFS, whose file was not fetched. Fetch it, as git lfs pull does");
}

// Nothing is read before it is used: half-precision weights stay in the file's memory.
TEST_F(RepositoryTest, TensorsViewTheFileInItsType) {
  save_safetensors({{"a", golden_values({1 << 20}).to(at::kHalf)}}, folder_ / "model.fp16.safetensors");
  const at::Tensor tensor = Repository(folder_.string()).tensors().at("a");
  EXPECT_EQ(tensor.scalar_type(), at::kHalf);
  std::ifstream maps("/proc/self/maps");
  bool is_mapped = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::istringstream(line) >> std::hex >> begin >> dash >> end;
    const auto address = reinterpret_cast<uintptr_t>(tensor.data_ptr());
    if (address >= begin && address < end) is_mapped = line.ends_with("model.fp16.safetensors");
  }
  EXPECT_TRUE(is_mapped);
}

TEST_F(RepositoryTest, SafetensorsGoBeforePickles) {
  fs::copy(kGoldens / "hostile/os_system.bin", folder_ / "pytorch_model.bin");
  EXPECT_THROW(Repository(folder_.string()).tensors(), CheckpointError);
  save_safetensors({{"a", golden_values({2})}}, folder_ / "model.safetensors");
  EXPECT_EQ(Repository(folder_.string()).tensors().size(), 1u);
}

TEST_F(RepositoryTest, AnIndexAndItsShardsMustAgree) {
  save_safetensors({{"a", golden_values({2})}}, folder_ / "1.safetensors");
  save_safetensors({{"b", golden_values({2})}}, folder_ / "2.safetensors");
  const auto with_index = [&](const std::string& index) {
    file(index, "model.safetensors.index.json");
    return Repository(folder_.string()).tensors();
  };
  EXPECT_EQ(with_index(R"({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})").size(), 2u);
  const auto refused = [&](const std::string& index) { return error_of<CheckpointError>([&] { with_index(index); }); };
  expect_contains(refused(R"({"weight_map": {"a": "1.safetensors", "c": "2.safetensors"}})"), "'c' in 2.safetensors");
  save_safetensors({{"b", golden_values({2})}, {"d", golden_values({2})}}, folder_ / "2.safetensors");
  expect_contains(refused(R"({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})"), "got 'd'");
  expect_contains(refused(R"({"weight_map": {"a": "../1.safetensors"}})"), "expected a file name");
  expect_contains(refused(R"({"weight_map": {"a": 1}})"), "expected a file name");
  expect_contains(refused(R"({"weight_map": {"a": "3.safetensors"}})"), "3.safetensors");
  expect_contains(refused(R"({"weight_map": {}})"), "weight_map");
  expect_contains(refused(R"({"weight_map": []})"), "weight_map");
  expect_contains(refused("[]"), "weight_map");
  expect_contains(refused("{"), "expected JSON");
}

TEST_F(RepositoryTest, FilesOfOtherFormatsAreNamedWithWhatWouldDo) {
  const auto message = [&](const std::string& name, const std::string& bytes) {
    write_file(folder_ / name, bytes);
    return error_of<CheckpointError>([&] { Repository((folder_ / name).string()); });
  };
  for (const char* name : {"model.gguf", "model.safetensors"}) {
    const std::string gguf = message(name, std::string("GGUF\3\0\0\0\0\0\0\0\0\0\0\0", 16));
    expect_contains(gguf, "got a GGUF file, whose weights are quantised for llama.cpp");
    expect_contains(gguf, "The same model as .safetensors would do");
  }
  expect_contains(message("model.ckpt", "\x80\x04\x95 a pickle of its own"), "that torch.save did not write");
  expect_contains(message("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"), "Git LFS");
  // As weights of a repository, too.
  write_file(folder_ / "config.json", "{}");
  expect_contains(error_of<CheckpointError>([&] { Repository(folder_.string()).tensors(); }), "Git LFS");
}

TEST_F(RepositoryTest, HeadersAloneHaveShapesAndTypesButNoNumbersAndNoDigest) {
  const std::string name = (tests::source_dir() / "tests/goldens/lora/captioner").string() + "@" +
                           (tests::source_dir() / "tests/goldens/caption/blip").string();
  const Repository whole(name), headers(name, "", Repository::Contents::kHeaders);
  const TensorMap tensors = headers.tensors();
  for (const auto& [key, tensor] : whole.tensors()) {
    ASSERT_TRUE(tensors.contains(key)) << key;
    EXPECT_TRUE(tensors.at(key).is_meta()) << key;
    EXPECT_EQ(tensors.at(key).sizes(), tensor.sizes()) << key;
    EXPECT_EQ(tensors.at(key).scalar_type(), tensor.scalar_type()) << key;
  }
  EXPECT_EQ(headers.digest(), "");
}

TEST_F(RepositoryTest, DigestFollowsConfigurationsAndWeights) {
  put("repo/config.json", "{}");
  put("repo/unet/config.json", "{}");
  put("repo/vocab.txt", "a");
  put("repo/model.safetensors", "12345");
  const auto digest = [&] { return Repository((folder_ / "repo").string()).digest(); };
  const std::string first = digest();
  ASSERT_TRUE(first.starts_with("sha256:")) << first;
  EXPECT_EQ(first.size(), 7 + 64u);
  EXPECT_EQ(first.find_first_not_of("0123456789abcdef", 7), std::string::npos);
  put("repo/README.md", "words");
  put("repo/.git/config.json", "{}");
  put("repo/training/state.safetensors", "123");
  EXPECT_EQ(digest(), first) << "neither words nor hidden folders nor a training's state make another model";
  std::set<std::string> digests{first};
  for (const auto& [path, bytes] : {std::pair{"repo/unet/config.json", "{ }"},
                                    {"repo/vocab.txt", "b"},
                                    {"repo/model.safetensors", "12346"},
                                    {"repo/model.safetensors", "123456"},
                                    {"repo/vae/config.json", "{}"}}) {
    put(path, bytes);
    EXPECT_TRUE(digests.insert(digest()).second) << path;
  }
  fs::rename(folder_ / "repo", folder_ / "moved");
  EXPECT_TRUE(digests.contains(Repository((folder_ / "moved").string()).digest())) << "wherever it lies";
}

TEST_F(RepositoryTest, DigestNoticesEveryByteOfLargeWeights) {
  put("repo/config.json", "{}");
  const auto with_change_at = [&](size_t place, size_t size) {
    std::string bytes(70 << 20, 'w');
    bytes.replace(place, size, size, 'x');
    put("repo/model.safetensors", bytes);
    return Repository((folder_ / "repo").string()).digest();
  };
  std::set<std::string> digests{with_change_at(0, 0)};
  for (const size_t place : {1000u, 10'000'001u, (70u << 20) - 1}) {
    EXPECT_TRUE(digests.insert(with_change_at(place, 1)).second) << place;
  }
}

TEST_F(RepositoryTest, DigestOfAHubCacheIsThatOfAFolder) {
  const std::string weights = "weights", hub = "hub/models--owner--name/";
  put("plain/config.json", "{}");
  put("plain/unet/diffusion_pytorch_model.safetensors", weights);
  put(hub + "blobs/bf7ec0ef8e7b8d5d3a3cbe54bda9d75f5bb0b1f1", "{}");
  put(hub + "blobs/" + sha256_hex(weights), weights);
  const fs::path snapshot = folder_ / hub / "snapshots/main";
  fs::create_directories(snapshot / "unet");
  fs::create_symlink("../../blobs/bf7ec0ef8e7b8d5d3a3cbe54bda9d75f5bb0b1f1", snapshot / "config.json");
  fs::create_symlink("../../../blobs/" + sha256_hex(weights), snapshot / "unet/diffusion_pytorch_model.safetensors");
  ::setenv("HF_HUB_CACHE", (folder_ / "hub").c_str(), 1);
  EXPECT_EQ(Repository("owner/name").digest(), Repository((folder_ / "plain").string()).digest());
}

// What is digested is what is loaded, whichever comes first.
TEST_F(RepositoryTest, FilesThatChangeWhileTheyAreUsedAreRefused) {
  const auto put_repository = [&] {
    put("repo/config.json", "{}");
    save_safetensors({{"a", golden_values({2})}}, folder_ / "repo/model.safetensors");
    return Repository((folder_ / "repo").string());
  };
  const auto expect_refused = [&](const auto& use, const std::string& file) {
    expect_contains(error_of<CheckpointError>(use), "'" + file + "'");
  };
  {
    const Repository repository = put_repository();
    repository.digest();
    save_safetensors({{"a", golden_values({2}) + 1}}, folder_ / "repo/model.safetensors");
    expect_refused([&] { repository.tensors(); }, "model.safetensors");
  }
  {
    const Repository repository = put_repository(), copy = repository;
    repository.tensors();
    put("repo/config.json", "{ }");
    expect_refused([&] { copy.digest(); }, "config.json");
  }
  {
    const Repository repository = put_repository();
    repository.json();
    put("repo/vocab.txt", "a");
    expect_refused([&] { repository.digest(); }, "vocab.txt");
    fs::remove(folder_ / "repo/vocab.txt");
    EXPECT_NO_THROW(repository.digest());
    put("repo/README.md", "words");
    put("repo/training/state.safetensors", "123");
    EXPECT_NO_THROW(repository.tensors());
  }
}

}  // namespace
}  // namespace readback::checkpoint
