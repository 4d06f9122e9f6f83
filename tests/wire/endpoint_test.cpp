#include "readback/wire/endpoint.h"

#include <gtest/gtest.h>

#include "readback/base/error.h"
#include "readback/wire/base64.h"

namespace readback::wire {
namespace {

TEST(Endpoint, HasAProtocolAnAddressAndAModel) {
  const Endpoint endpoint = parse_endpoint("openai:http://127.0.0.1:8080/v1/#org/model:latest");
  EXPECT_EQ(endpoint.protocol, "openai");
  EXPECT_EQ(endpoint.url, "http://127.0.0.1:8080/v1");
  EXPECT_EQ(endpoint.model, "org/model:latest");
  EXPECT_EQ(endpoint.spec(), "openai:http://127.0.0.1:8080/v1#org/model:latest");
  EXPECT_EQ(parse_endpoint("sdapi:https://host").spec(), "sdapi:https://host");
  for (const char* wrong : {"openai", "openai:", "openai:8080", "openai:ftp://host/", "openai:file:///etc/passwd"}) {
    EXPECT_THROW(parse_endpoint(wrong), UsageError) << wrong;
  }
}

TEST(Endpoint, ASecretInTheAddressIsRefusedAndNotRepeated) {
  try {
    parse_endpoint("openai:https://user:hush@host/v1#m");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(std::string(error.what()).find("hush"), std::string::npos) << error.what();
  }
}

TEST(Endpoint, KnowsWhichAddressesAreOfOneServer) {
  EXPECT_EQ(origin("http://host/a"), origin("http://host:80/b?c"));
  EXPECT_NE(origin("http://host/a"), origin("https://host/a"));
  EXPECT_NE(origin("http://host/a"), origin("http://host:81/a"));
  EXPECT_NE(origin("http://host/a"), origin("http://host.evil/a"));
  EXPECT_NE(origin("http://host/a"), origin("http://host@evil/a"));
  EXPECT_EQ(origin("no address at all"), "");
  EXPECT_TRUE(is_encrypted("https://host"));
  EXPECT_FALSE(is_encrypted("http://host"));
  EXPECT_TRUE(is_this_machine("http://127.0.0.1:1/") && is_this_machine("http://localhost/") &&
              is_this_machine("http://[::1]:80/"));
  EXPECT_FALSE(is_this_machine("http://localhost.evil/"));
}

TEST(Base64, ThereAndBack) {
  std::string bytes;
  for (int size = 0; size < 300; ++size) {
    const std::string text = to_base64(bytes);
    EXPECT_EQ(from_base64(text), bytes);
    bytes += static_cast<char>(size * 7);
  }
  EXPECT_EQ(to_base64("Man"), "TWFu");
  EXPECT_EQ(to_base64("Ma"), "TWE=");
  for (const char* wrong : {"TWF", "TW\xff=", "T=Fu!"}) EXPECT_FALSE(from_base64(wrong)) << wrong;
}

}  // namespace
}  // namespace readback::wire
