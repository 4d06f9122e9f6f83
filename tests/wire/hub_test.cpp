#include "readback/wire/hub.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/sha256.h"
#include "tests/wire_server.h"

namespace readback::wire {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Seen = WireServer::Seen;
using Reply = WireServer::Reply;

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";
constexpr const char* kHello = "ce013625030ba8dba906f756967f9e9ca394464a";  // git hash-object of "hello\n"
constexpr const char* kToken = "hf_hush0123456789";

std::string weights() {
  std::string bytes;
  for (int i = 0; i < 120000; ++i) bytes += static_cast<char>(i * 31 + i / 256);
  return bytes;
}

class HubTest : public testing::Test {
 protected:
  HubTest() {
    std::string name = (fs::temp_directory_path() / "readback-hub-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    ::setenv("HF_HOME", folder_.c_str(), 1);
    ::setenv("HF_TOKEN", kToken, 1);
    ::unsetenv("HF_HUB_CACHE");
  }
  ~HubTest() override {
    for (const char* name : {"HF_HOME", "HF_TOKEN", "HF_ENDPOINT"}) ::unsetenv(name);
    fs::remove_all(folder_);
  }

  // A hub with a small and a large file; `fault` may answer in its place.
  Reply hub(const Seen& seen) const {
    if (seen.path.starts_with("/api/models/org/model/revision/")) {
      return {.body = json{{"sha", kCommit},
                           {"cardData", {{"license", "mit"}}},
                           {"siblings",
                            {{{"rfilename", "config.json"}, {"size", 6}, {"blobId", kHello}},
                             {{"rfilename", "sub/model.safetensors"},
                              {"size", weights_.size()},
                              {"blobId", kCommit},
                              {"lfs", {{"sha256", sha256_hex(weights_)}}}}}}}
                          .dump()};
    }
    const std::string resolved = std::string("/org/model/resolve/") + kCommit + "/";
    if (seen.path == resolved + "config.json") return {.body = "hello\n"};
    if (seen.path == resolved + "sub/model.safetensors") return file(seen);
    return {.status = 404, .body = "{}"};
  }
  Reply file(const Seen& seen) const {
    const size_t range = seen.headers.find("Range: bytes=");
    if (range == std::string::npos) return {.body = weights_};
    const size_t from = std::strtoul(seen.headers.c_str() + range + 13, nullptr, 10);
    return {.status = 206, .body = weights_.substr(from)};
  }

  static WireOptions quick() {
    WireOptions options;
    options.retry_delay = 0;
    return options;
  }
  fs::path pull(const WireServer& server, const WireOptions& options = quick(), const Context& context = {}) const {
    ::setenv("HF_ENDPOINT", server.url().c_str(), 1);
    const Hub hub(options);
    const HubRepository repository = hub.look("org/model", "main", context);
    return hub.pull(repository, files_to_pull(repository, {}), context);
  }
  void expect_whole(const fs::path& snapshot) const {
    EXPECT_EQ(snapshot, folder_ / "hub/models--org--model/snapshots" / kCommit);
    EXPECT_EQ(read_file(snapshot / "config.json"), "hello\n");
    EXPECT_EQ(read_file(snapshot / "sub/model.safetensors"), weights_);
    EXPECT_EQ(fs::read_symlink(snapshot / "config.json"), fs::path("../../blobs") / kHello);
    EXPECT_EQ(fs::read_symlink(snapshot / "sub/model.safetensors"), fs::path("../../../blobs") / sha256_hex(weights_));
    EXPECT_EQ(read_file(folder_ / "hub/models--org--model/refs/main"), kCommit);
    for (const auto& entry : fs::directory_iterator(folder_ / "hub/models--org--model/blobs")) {
      EXPECT_NE(entry.path().extension(), ".incomplete");
    }
  }

  fs::path folder_;
  std::string weights_ = weights();
};

TEST_F(HubTest, PullsIntoTheCacheThatOthersShare) {
  const WireServer server([&](const Seen& seen) { return hub(seen); });
  expect_whole(pull(server));
  const size_t asked = server.seen().size();
  EXPECT_EQ(asked, 3);
  EXPECT_NE(server.seen()[0].headers.find(kToken), std::string::npos);
  expect_whole(pull(server));
  EXPECT_EQ(server.seen().size(), asked + 1);  // what the repository holds
  ::setenv("HF_ENDPOINT", server.url().c_str(), 1);
  EXPECT_EQ(Hub(quick()).look("org/model", "main", {}).license, "mit");
}

TEST_F(HubTest, GoesOnAfterEveryCut) {
  std::atomic<int64_t> bytes = 0;
  const WireServer server([&](const Seen& seen) {
    Reply reply = hub(seen);
    if (seen.path.ends_with("safetensors") && std::ssize(reply.body) > 10240) reply.cut_after = 10240;
    if (seen.path.ends_with("safetensors")) bytes += std::min<int64_t>(std::ssize(reply.body), 10240);
    return reply;
  });
  WireOptions options = quick();
  options.max_retries = 20;
  expect_whole(pull(server, options));
  EXPECT_EQ(bytes, std::ssize(weights_));  // none came twice
}

TEST_F(HubTest, WhatIsWrongIsNotKept) {
  std::atomic<int64_t> wrong = 2;
  const WireServer server([&](const Seen& seen) {
    Reply reply = hub(seen);
    if (seen.path.ends_with("safetensors") && wrong-- > 0) reply.body[reply.body.size() / 2] ^= 1;
    return reply;
  });
  expect_whole(pull(server));
  fs::remove_all(folder_ / "hub");
  wrong = 1000;
  WireOptions options = quick();
  options.max_retries = 3;
  EXPECT_THROW(pull(server, options), NetworkError);
  const fs::path blobs = folder_ / "hub/models--org--model/blobs";
  EXPECT_FALSE(fs::exists(blobs / sha256_hex(weights_)));
  EXPECT_FALSE(fs::exists(folder_ / "hub/models--org--model/refs/main"));
}

TEST_F(HubTest, FaultsOfTheServerPass) {
  const WireServer server([&](const Seen& seen) {
    switch (seen.index % 4) {
      case 0:
        return Reply{.status = 500, .body = "<html>"};
      case 1:
        return Reply{.status = 429, .headers = {"Retry-After: 0"}};
      case 2:
        return Reply{.body = seen.path.ends_with("safetensors") ? weights_.substr(0, 500) : "{}", .cut_after = 1};
      default:
        return hub(seen);
    }
  });
  WireOptions options = quick();
  options.max_retries = 20;
  expect_whole(pull(server, options));
}

TEST_F(HubTest, AServerWithoutRangesBeginsAgain) {
  std::atomic<bool> cut = true;
  const WireServer server([&](const Seen& seen) {
    Reply reply = hub(seen);
    if (!seen.path.ends_with("safetensors")) return reply;
    return Reply{.body = weights_, .cut_after = cut.exchange(false) ? 50000 : -1};
  });
  expect_whole(pull(server));
}

TEST_F(HubTest, TheTokenDoesNotGoWhereLargeFilesAre) {
  const WireServer store([&](const Seen& seen) { return file(seen); });
  const WireServer server([&](const Seen& seen) {
    if (seen.path.ends_with("safetensors")) return Reply{.status = 302, .headers = {"Location: " + store.url() + "/x"}};
    return hub(seen);
  });
  expect_whole(pull(server));
  ASSERT_EQ(store.seen().size(), 1);
  EXPECT_EQ(store.seen()[0].headers.find("Authorization"), std::string::npos);
}

TEST_F(HubTest, TwoAtOncePullEachFileOnce) {
  const WireServer server([&](const Seen& seen) {
    Reply reply = hub(seen);
    reply.delay = 0.2;
    return reply;
  });
  ::setenv("HF_ENDPOINT", server.url().c_str(), 1);
  const auto work = [&] {
    const Hub hub(quick());
    const HubRepository repository = hub.look("org/model", "main", {});
    hub.pull(repository, repository.files, {});
  };
  std::thread other(work);
  work();
  other.join();
  expect_whole(folder_ / "hub/models--org--model/snapshots" / kCommit);
  EXPECT_EQ(server.seen().size(), 4);
}

TEST_F(HubTest, AFullDiskKeepsWhatCame) {
  const WireServer server([&](const Seen& seen) { return hub(seen); });
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit low{60000, old.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &low);
  EXPECT_THROW(pull(server), StoreError);
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  const fs::path blob = folder_ / "hub/models--org--model/blobs" / sha256_hex(weights_);
  EXPECT_FALSE(fs::exists(blob));
  EXPECT_EQ(fs::file_size(blob.string() + ".incomplete"), 60000);
  expect_whole(pull(server));
  EXPECT_NE(server.seen().back().headers.find("Range: bytes=60000-"), std::string::npos);
}

TEST_F(HubTest, SaysWhyItRefuses) {
  std::string told;
  const auto failure = [&](const Reply& reply) {
    const WireServer server([&](const Seen&) { return reply; });
    try {
      pull(server);
      return std::string("nothing was thrown");
    } catch (const NetworkError& error) {
      return std::string(error.what());
    }
  };
  told = failure({.status = 401, .body = std::string("token ") + kToken});
  EXPECT_NE(told.find("HF_TOKEN"), std::string::npos) << told;
  EXPECT_EQ(told.find("hush"), std::string::npos) << told;
  EXPECT_NE(failure({.status = 404, .body = "Repository not found"}).find("not found"), std::string::npos);
  for (const char* name : {"../../outside", "/etc/passwd", "a/../../b", ""}) {
    const json entry = {{"rfilename", name}, {"size", 6}, {"blobId", kHello}};
    told = failure({.body = json{{"sha", kCommit}, {"siblings", {entry}}}.dump()});
    EXPECT_NE(told.find("below the repository"), std::string::npos) << told;
  }
  const json entry = {{"rfilename", "a"}, {"size", 6}, {"blobId", "../../x"}};
  EXPECT_NE(failure({.body = json{{"sha", kCommit}, {"siblings", {entry}}}.dump()}).find("digests"), std::string::npos);
  EXPECT_THROW(Hub(quick()).look("../x", "main", {}), UsageError);
  EXPECT_THROW(Hub(quick()).look("org/model", "../main", {}), UsageError);
}

TEST(HubFiles, OnlyWhatABackendNeeds) {
  const auto chosen = [](const std::vector<std::string>& names, const std::vector<std::string>& patterns = {}) {
    HubRepository repository{.id = "org/model"};
    for (const std::string& name : names) repository.files.push_back({name, 1, ""});
    std::vector<std::string> result;
    for (const HubFile& file : files_to_pull(repository, patterns)) result.push_back(file.name);
    return result;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(chosen({".gitattributes", "README.md", "config.json", "model.safetensors", "model.fp16.safetensors",
                    "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "vocab.txt", "tokenizer.model", "a.png"}),
            (Names{"README.md", "config.json", "model.safetensors", "vocab.txt", "tokenizer.model"}));
  EXPECT_EQ(chosen({"config.json", "pytorch_model.bin", "training_args.bin"}),
            (Names{"config.json", "pytorch_model.bin"}));
  EXPECT_EQ(chosen({"model_index.json", "v1-5.safetensors", "unet/diffusion_pytorch_model.safetensors",
                    "unet/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.bin"}),
            (Names{"model_index.json", "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin"}));
  EXPECT_EQ(chosen({"a/model-00001-of-00002.safetensors", "b.json", "c.bin"}, {"a/*", "*.bin"}),
            (Names{"a/model-00001-of-00002.safetensors", "c.bin"}));
  EXPECT_THROW(chosen({"a.json"}, {"*.txt"}), UsageError);
}

}  // namespace
}  // namespace readback::wire
