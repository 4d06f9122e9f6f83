#include "readback/wire/endpoint.h"

#include <curl/curl.h>

#include <memory>

#include "readback/base/error.h"

namespace readback::wire {

namespace {

class Url {
 public:
  explicit Url(const std::string& text) : url_(curl_url(), &curl_url_cleanup) {
    good_ = curl_url_set(url_.get(), CURLUPART_URL, text.c_str(), 0) == CURLUE_OK;
  }
  std::string part(CURLUPart which, unsigned flags = 0) const {
    char* text = nullptr;
    if (!good_ || curl_url_get(url_.get(), which, &text, flags) != CURLUE_OK) return "";
    const std::unique_ptr<char, decltype(&curl_free)> owner(text, &curl_free);
    return text;
  }
  std::string scheme() const { return part(CURLUPART_SCHEME); }
  std::string host() const { return part(CURLUPART_HOST); }

 private:
  std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url_;
  bool good_ = false;
};

}  // namespace

std::string Endpoint::spec() const { return protocol + ":" + url + (model.empty() ? "" : "#" + model); }

Endpoint parse_endpoint(const std::string& spec) {
  constexpr const char* kExpected = "PROTOCOL:URL#MODEL with an http: or https: address";
  constexpr const char* kExample = "openai:http://127.0.0.1:8080/v1#smolvlm is one";
  const size_t colon = spec.find(':'), hash = std::min(spec.find('#'), spec.size());
  if (colon == std::string::npos || colon > hash) throw UsageError(describe(spec, kExpected, "no protocol", kExample));
  Endpoint endpoint{spec.substr(0, colon), spec.substr(colon + 1, hash - colon - 1), ""};
  if (hash < spec.size()) endpoint.model = spec.substr(hash + 1);
  while (endpoint.url.ends_with('/')) endpoint.url.pop_back();
  const Url url(endpoint.url);
  // Not the address itself in the message: it may hold a password.
  if (!url.part(CURLUPART_USER).empty() || !url.part(CURLUPART_PASSWORD).empty()) {
    throw UsageError(describe(endpoint.protocol + ": model", "an address without user and password", "one with them",
                              "Put the key into an environment variable and name that with api_key_variable"));
  }
  if ((url.scheme() != "http" && url.scheme() != "https") || url.host().empty()) {
    throw UsageError(describe(spec, kExpected, "\"" + endpoint.url + "\"", kExample));
  }
  return endpoint;
}

std::string origin(const std::string& address) {
  const Url url(address);
  if (url.host().empty()) return "";
  return url.scheme() + "://" + url.host() + ":" + url.part(CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

bool is_encrypted(const std::string& url) { return Url(url).scheme() == "https"; }

bool is_this_machine(const std::string& url) {
  const std::string host = Url(url).host();
  return host == "localhost" || host == "[::1]" || host.starts_with("127.");
}

}  // namespace readback::wire
