// `readback doctor`, and what the program says of a GPU that it cannot use.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "program.h"

namespace readback {
namespace {

// The variables of the program's environment, for one test.
class Doctor : public Cli {
 protected:
  void set(const std::string& name, const std::string& value) {
    const char* before = std::getenv(name.c_str());
    before_.emplace(name, before != nullptr ? std::optional<std::string>(before) : std::nullopt);
    ::setenv(name.c_str(), value.c_str(), 1);
  }
  void TearDown() override {
    for (const auto& [name, value] : before_) {
      if (value) {
        ::setenv(name.c_str(), value->c_str(), 1);
      } else {
        ::unsetenv(name.c_str());
      }
    }
    Cli::TearDown();
  }
  // Finding by subject.
  std::map<std::string, nlohmann::json> findings(int status = 0) {
    const Outcome result = run("doctor --format jsonl");
    EXPECT_EQ(result.status, status) << result.err;
    std::map<std::string, nlohmann::json> findings;
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
      const auto finding = nlohmann::json::parse(line);
      findings[finding.at("subject")] = finding;
    }
    return findings;
  }

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

TEST_F(Doctor, SaysWhatIsHere) {
  const auto found = findings();
  for (const char* subject :
       {"processor", "threads", "memory", "engine", "gpu", "assets", "cache", "hub", "meteor", "java", "spice"}) {
    ASSERT_TRUE(found.contains(subject)) << subject;
    const nlohmann::json& finding = found.at(subject);
    EXPECT_FALSE(finding.at("found").get<std::string>().empty()) << subject;
    EXPECT_EQ(finding.at("state") == "good", finding.at("next").get<std::string>().empty()) << finding;
  }
  EXPECT_GT(found.at("memory").at("details").at("total"), 0);
  EXPECT_GT(found.at("threads").at("details").at("logical_cores"), 0);
  EXPECT_NE(found.at("engine").at("details").at("library").get<std::string>().find("libtorch"), std::string::npos);
  const Outcome text = run("doctor");
  EXPECT_EQ(text.status, 0);
  EXPECT_NE(text.out.find("good     assets"), std::string::npos) << text.out;
}

TEST_F(Doctor, GapsComeWithWhatToDo) {
  set("READBACK_METEOR", path("no-tables.bin"));
  set("READBACK_SPICE", path("no-spice"));
  set("JAVA_HOME", path(""));
  set("PATH", path(""));
  const auto found = findings();
  for (const char* subject : {"meteor", "java", "spice"}) EXPECT_EQ(found.at(subject).at("state"), "gap") << subject;
  EXPECT_NE(found.at("meteor").at("next").get<std::string>().find("prepare-meteor"), std::string::npos);
  EXPECT_NE(found.at("spice").at("next").get<std::string>().find("prepare-spice"), std::string::npos);
  EXPECT_NE(found.at("java").at("next").get<std::string>().find("JAVA_HOME"), std::string::npos);
}

TEST_F(Doctor, EndsWithOneWhenAnEssentialIsMissing) {
  set("READBACK_ASSETS", path("nothing"));
  const auto found = findings(1);
  EXPECT_EQ(found.at("assets").at("state"), "missing");
  EXPECT_NE(found.at("assets").at("next").get<std::string>().find("READBACK_ASSETS"), std::string::npos);
}

// The driver is there and libtorch's CUDA libraries are not; or they are, and find that the driver is a fake.
TEST_F(Doctor, AGpuThatCannotBeUsedIsSaidOnceAndWhy) {
  export_scenes(2);
  const std::string caption = "caption " + path("scenes/test-00000.png") + " " + path("scenes/test-00001.png");
  set("LD_LIBRARY_PATH", READBACK_FAKE_CUDA);
  const Outcome result = run(caption);
  ASSERT_EQ(result.status, 0) << result.err;
  const std::string note = "readback: --device auto takes the CPU, though there is a GPU: ";
  const size_t first = result.err.find(note);
  ASSERT_NE(first, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find(note, first + 1), std::string::npos) << result.err;
  const nlohmann::json gpu = findings().at("gpu");
  EXPECT_EQ(gpu.at("state"), "gap");
  EXPECT_EQ(gpu.at("details").at("names"), nlohmann::json({"Fake GPU 0"}));
  EXPECT_EQ(gpu.at("details").at("driver"), "13.2");
  EXPECT_NE(result.err.find(gpu.at("next").get<std::string>()), std::string::npos) << gpu;
  EXPECT_NE(gpu.at("next").get<std::string>().find("Install"), std::string::npos) << gpu;

  EXPECT_EQ(run(caption + " --device cpu").err.find("GPU"), std::string::npos);  // nobody asked for it
  const Outcome asked = run(caption + " --device cuda");
  EXPECT_EQ(asked.status, 2);
  EXPECT_NE(asked.err.find(gpu.at("next").get<std::string>()), std::string::npos) << asked.err;
}

TEST_F(Doctor, ADriverThatFailsIsAReasonToo) {
  export_scenes(1);
  set("LD_LIBRARY_PATH", READBACK_FAKE_CUDA);
  set("FAKE_CUDA_INIT", "803");
  const Outcome result = run("caption " + path("scenes/test-00000.png"));
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(result.err.find("the NVIDIA driver's error 803"), std::string::npos) << result.err;
}

TEST_F(Doctor, AMachineWithoutAGpuStaysSilent) {
  export_scenes(1);
  set("LD_LIBRARY_PATH", READBACK_FAKE_CUDA);
  for (const char* answer : {"100", "34"}) {  // no device; a stub of the driver, as build machines have
    set("FAKE_CUDA_INIT", answer);
    const Outcome result = run("caption " + path("scenes/test-00000.png"));
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.err.find("GPU"), std::string::npos) << result.err;
    EXPECT_EQ(findings().at("gpu").at("state"), "good");
  }
}

}  // namespace
}  // namespace readback
