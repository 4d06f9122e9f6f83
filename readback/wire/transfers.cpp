#include "readback/wire/transfers.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <signal.h>

#include <cstdlib>
#include <map>
#include <utility>

#include "readback/base/error.h"
#include "readback/wire/endpoint.h"
#include "readback/wire/retry.h"

namespace readback::wire {

namespace {

constexpr size_t kLargestBody = size_t{512} << 20;  // bytes of an answer that is kept in memory

void start_curl() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started != CURLE_OK) throw NetworkError(describe("libcurl", "to start", curl_easy_strerror(started)));
}

long milliseconds(double seconds) { return static_cast<long>(seconds * 1000); }

// A connection that its other end closed must not end the program: OpenSSL writes without asking for that. Blocked for
// this thread alone, and taken away if it came.
class NoBrokenPipe {
 public:
  NoBrokenPipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  NoBrokenPipe(const NoBrokenPipe&) = delete;
  ~NoBrokenPipe() {
    const timespec now{};
    if (!was_pending_) sigtimedwait(&pipe_, nullptr, &now);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_, before_;
  bool was_pending_ = false;
};

// One request on its way. It stays where it is: libcurl holds its address.
struct Transfer {
  Transfer(const WireOptions& options, size_t number, Outgoing outgoing)
      : id(number), request(std::move(outgoing)), handle(curl_easy_init()) {
    if (handle == nullptr) throw NetworkError(describe("libcurl", "a transfer", "no memory for one"));
    for (const std::string& header : request.headers) headers = curl_slist_append(headers, header.c_str());
    headers = curl_slist_append(headers, "Expect:");  // no pause before a large body
    curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "readback");
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(options.connect_timeout));
    // What comes in pieces may take as long as it takes, as long as something comes.
    if (!request.sink) curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, milliseconds(options.request_timeout));
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &Transfer::write);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, this);
    curl_easy_setopt(handle, CURLOPT_PRIVATE, this);
    for (const char* variable : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
      if (const char* file = std::getenv(variable); file != nullptr && *file != '\0') {
        curl_easy_setopt(handle, CURLOPT_CAINFO, file);
        break;
      }
    }
    if (is_this_machine(request.url)) curl_easy_setopt(handle, CURLOPT_PROXY, "");
    if (!request.body.empty()) {
      curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.data());
    }
  }
  Transfer(const Transfer&) = delete;
  ~Transfer() {
    curl_easy_cleanup(handle);
    curl_slist_free_all(headers);
  }

  static size_t write(char* bytes, size_t one, size_t count, void* transfer) {
    return static_cast<Transfer*>(transfer)->take({bytes, one * count});
  }
  size_t take(std::string_view bytes) {
    last_bytes = Clock::now();
    began = true;
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    if (request.sink && status >= 200 && status < 300) return request.sink(status, bytes) ? bytes.size() : 0;
    if (body.size() + bytes.size() > kLargestBody) return 0;
    body.append(bytes);
    return bytes.size();
  }

  std::string header(const char* name) const {
    curl_header* found = nullptr;
    if (curl_easy_header(handle, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK) return "";
    return found->value;
  }

  Incoming incoming(CURLcode code) {
    Incoming result{.id = id};
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &result.status);
    result.why = *error != '\0' ? error : curl_easy_strerror(code);
    switch (code) {
      case CURLE_OK: {
        result.body = std::move(body);
        result.retry_after = header("Retry-After");
        char* redirect = nullptr;
        curl_easy_getinfo(handle, CURLINFO_REDIRECT_URL, &redirect);
        if (redirect != nullptr) result.redirect = redirect;
        result.why.clear();
        break;
      }
      case CURLE_OPERATION_TIMEDOUT: {
        curl_off_t connected = 0;
        curl_easy_getinfo(handle, CURLINFO_PRETRANSFER_TIME_T, &connected);
        result.outcome = connected == 0 ? Outcome::kUnreachable : Outcome::kTimedOut;
        break;
      }
      case CURLE_COULDNT_RESOLVE_PROXY:
      case CURLE_COULDNT_RESOLVE_HOST:
      case CURLE_COULDNT_CONNECT:
        result.outcome = Outcome::kUnreachable;
        break;
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CACERT_BADFILE:
      case CURLE_SSL_CONNECT_ERROR:
      case CURLE_UNSUPPORTED_PROTOCOL:
      case CURLE_URL_MALFORMAT:
        result.outcome = Outcome::kRefused;
        break;
      default:
        result.outcome = Outcome::kCut;
        break;
    }
    return result;
  }

  size_t id;
  Outgoing request;
  CURL* handle;
  curl_slist* headers = nullptr;
  char error[CURL_ERROR_SIZE] = "";
  std::string body;
  bool began = false;
  Clock::time_point last_bytes;
};

}  // namespace

struct Transfers::State {
  explicit State(const WireOptions& options_) : options(options_) {
    start_curl();
    multi = curl_multi_init();
  }
  ~State() {
    const NoBrokenPipe quiet;
    while (!transfers.empty()) take(transfers.begin()->first);
    curl_multi_cleanup(multi);
  }
  std::unique_ptr<Transfer> take(CURL* handle) {
    curl_multi_remove_handle(multi, handle);
    return std::move(transfers.extract(handle).mapped());
  }

  WireOptions options;
  CURLM* multi = nullptr;
  std::map<CURL*, std::unique_ptr<Transfer>> transfers;
};

Transfers::Transfers(const WireOptions& options) : state_(std::make_unique<State>(options)) {}
Transfers::~Transfers() = default;

void Transfers::start(size_t id, Outgoing request) {
  auto transfer = std::make_unique<Transfer>(state_->options, id, std::move(request));
  CURL* const handle = transfer->handle;
  state_->transfers[handle] = std::move(transfer);
  curl_multi_add_handle(state_->multi, handle);
}

int64_t Transfers::running() const { return std::ssize(state_->transfers); }

std::vector<Incoming> Transfers::wait(std::chrono::milliseconds most) {
  const NoBrokenPipe quiet;
  std::vector<Incoming> ended;
  int running = 0;
  curl_multi_perform(state_->multi, &running);
  const auto collect = [&] {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(state_->multi, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;
      const auto transfer = state_->take(message->easy_handle);
      ended.push_back(transfer->incoming(code));
    }
  };
  collect();
  if (ended.empty()) {
    curl_multi_poll(state_->multi, nullptr, 0, static_cast<int>(most.count()), nullptr);
    curl_multi_perform(state_->multi, &running);
    collect();
  }
  // libcurl's own limit would count the time in which a model computes.
  const Clock::time_point now = Clock::now();
  std::vector<CURL*> idle;
  for (const auto& [handle, transfer] : state_->transfers) {
    if (transfer->began && now - transfer->last_bytes > Seconds(state_->options.idle_timeout)) idle.push_back(handle);
  }
  for (CURL* const handle : idle) {
    const auto transfer = state_->take(handle);
    ended.push_back({.id = transfer->id,
                     .outcome = Outcome::kTimedOut,
                     .why = fmt::format("nothing came for {} s (idle_timeout)", state_->options.idle_timeout)});
  }
  return ended;
}

void Transfers::abort() {
  const NoBrokenPipe quiet;
  while (!state_->transfers.empty()) state_->take(state_->transfers.begin()->first);
}

}  // namespace readback::wire
