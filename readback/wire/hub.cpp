#include "readback/wire/hub.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fnmatch.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/wire/blob.h"
#include "readback/wire/endpoint.h"
#include "readback/wire/retry.h"
#include "readback/wire/transfers.h"

namespace readback::wire {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* kDefaultEndpoint = "https://huggingface.co";
constexpr std::string_view kDatasets = "datasets/";
constexpr auto kGlance = std::chrono::milliseconds(50);

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

fs::path cache_of_hub() {
  if (const std::string cache = variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string home = variable("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  return fs::path(variable("HOME")) / ".cache" / "huggingface" / "hub";
}

bool is_plain(const std::string& text, const char* others) {
  return !text.empty() && text.find("..") == std::string::npos && text.front() != '/' && text.front() != '.' &&
         std::ranges::all_of(text,
                             [&](unsigned char c) { return std::isalnum(c) || std::strchr(others, c) != nullptr; });
}

// A name that stays below the snapshot.
bool stays_inside(const std::string& name) {
  const fs::path path(name);
  return !name.empty() && path.is_relative() && name.find('\0') == std::string::npos &&
         std::ranges::none_of(path, [](const fs::path& part) { return part == ".." || part == "." || part.empty(); });
}

std::string escaped(const std::string& name) {
  std::string result;
  for (const unsigned char c : name) {
    result += std::isalnum(c) || std::strchr("-._~/", c) != nullptr ? std::string(1, static_cast<char>(c))
                                                                    : fmt::format("%{:02X}", c);
  }
  return result;
}

bool is_digest(const std::string& text) {
  return (text.size() == 40 || text.size() == 64) &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

void sleep(Seconds seconds, const Context& context) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(seconds);
  while (Clock::now() < end) {
    context.check();
    std::this_thread::sleep_for(std::min<Clock::duration>(kGlance, end - Clock::now()));
  }
}

}  // namespace

int64_t bytes_of(const std::vector<HubFile>& files) {
  int64_t bytes = 0;
  for (const HubFile& file : files) bytes += file.size;
  return bytes;
}

std::string summary(const HubRepository& repository, const std::vector<HubFile>& files) {
  return fmt::format("{} of {} files, {:.3g} GB; licence: {}", files.size(), repository.files.size(),
                     static_cast<double>(bytes_of(files)) / 1e9,
                     repository.license.empty() ? "the repository names none" : repository.license);
}

std::vector<HubFile> files_to_pull(const HubRepository& repository, const std::vector<std::string>& patterns) {
  std::vector<HubFile> chosen;
  if (!patterns.empty()) {
    std::set<std::string> useful;
    for (const HubFile& file : repository.files) {
      bool wanted = false;
      for (const std::string& pattern : patterns) {
        if (::fnmatch(pattern.c_str(), file.name.c_str(), 0) != 0) continue;
        useful.insert(pattern);
        wanted = true;
      }
      if (wanted) chosen.push_back(file);
    }
    for (const std::string& pattern : patterns) {
      if (!useful.contains(pattern)) {
        throw UsageError(
            describe("include", "a pattern of files of " + repository.id, "\"" + pattern + "\", which is none's"));
      }
    }
    return chosen;
  }
  if (repository.id.starts_with(kDatasets)) {
    std::ranges::copy_if(repository.files, std::back_inserter(chosen),
                         [](const HubFile& file) { return fs::path(file.name).filename().string().front() != '.'; });
    return chosen;
  }
  const auto has = [&](const auto& test) { return std::ranges::any_of(repository.files, test); };
  const bool pipeline = has([](const HubFile& file) { return file.name == "model_index.json"; });
  for (const HubFile& file : repository.files) {
    const fs::path path(file.name);
    const std::string name = path.filename(), end = path.extension();
    if (name.front() == '.') continue;
    if (end == ".json" || end == ".txt" || end == ".model" || name.starts_with("README") ||
        name.starts_with("LICENSE")) {
      chosen.push_back(file);
      continue;
    }
    if (end != ".safetensors" && end != ".bin") continue;
    if (pipeline && !path.has_parent_path()) continue;  // the whole in one file, beside its parts
    const std::string stem = path.stem();
    const bool variant = stem.find('.') != std::string::npos;  // model.fp16.safetensors
    const bool weights =
        end == ".safetensors" || stem.starts_with("pytorch_model") || stem.starts_with("diffusion_pytorch_model");
    const bool safer = end == ".bin" && has([&](const HubFile& other) {
                         const fs::path its(other.name);
                         return its.parent_path() == path.parent_path() && its.extension() == ".safetensors" &&
                                its.stem().string().find('.') == std::string::npos;
                       });
    if (!variant && weights && !safer) chosen.push_back(file);
  }
  return chosen;
}

Hub::Hub(const WireOptions& options)
    : options_(options),
      endpoint_(variable("HF_ENDPOINT")),
      token_(Secret::from_environment("HF_TOKEN")),
      cache_(cache_of_hub()) {
  check_options(options);
  if (endpoint_.empty()) endpoint_ = kDefaultEndpoint;
  while (endpoint_.ends_with('/')) endpoint_.pop_back();
  if (origin(endpoint_).empty()) throw UsageError(describe("HF_ENDPOINT", "an address", "\"" + endpoint_ + "\""));
}

fs::path Hub::folder(const std::string& id) const {
  std::string name = id.starts_with(kDatasets) ? id : "models/" + id;
  for (size_t slash = 0; (slash = name.find('/')) != std::string::npos;) name.replace(slash, 1, "--");
  return cache_ / name;
}

// The body of a small answer, repeated while failures may pass.
std::string Hub::get(const std::string& url, const Context& context) const {
  Backoff backoff(options_.retry_delay);
  std::string address = url;
  for (int64_t attempt = 0, redirects = 0;; ++attempt) {
    Transfers transfers(options_);
    Outgoing request{address, {"Accept: application/json"}, ""};
    if (!token_.empty()) request.headers.push_back(token_.header());
    transfers.start(0, std::move(request));
    std::vector<Incoming> ended;
    while (ended.empty()) {
      context.check();
      ended = transfers.wait(kGlance);
    }
    const Incoming& incoming = ended.front();
    if (incoming.status == 200 && incoming.outcome == Outcome::kAnswered) return incoming.body;
    if (!incoming.redirect.empty() && origin(incoming.redirect) == origin(endpoint_) && ++redirects < 5) {
      address = incoming.redirect;  // a repository that was renamed
      continue;
    }
    const bool answered = incoming.outcome == Outcome::kAnswered;
    const std::string got =
        answered ? fmt::format("status {}: {}", incoming.status, incoming.body.substr(0, 300)) : incoming.why;
    const bool passing = answered ? is_passing(incoming.status) : incoming.outcome != Outcome::kRefused;
    if (!passing || attempt >= options_.max_retries) {
      const bool closed = incoming.status == 401 || incoming.status == 403;
      throw NetworkError(describe(url, "an answer of the hub", token_.removed_from(got),
                                  closed
                                      ? "It may be private or ask for consent: accept its terms there, and put a token "
                                        "into the environment variable HF_TOKEN"
                                      : ""));
    }
    sleep(std::max(retry_after(incoming.retry_after).value_or(Seconds(0)), backoff.delay(attempt)), context);
  }
}

HubRepository Hub::look(const std::string& id, const std::string& revision, const Context& context) const {
  const bool dataset = id.starts_with(kDatasets);
  if (!is_plain(id, "-._/") || id.back() == '/' || std::ranges::count(id, '/') > (dataset ? 2 : 1)) {
    throw UsageError(describe("a repository", "OWNER/NAME or datasets/OWNER/NAME", "\"" + id + "\""));
  }
  if (!is_plain(revision, "-._/"))
    throw UsageError(describe("a revision", "a branch, a tag or a commit", "\"" + revision + "\""));
  const std::string url =
      endpoint_ + "/api/" + (dataset ? id : "models/" + id) + "/revision/" + revision + "?blobs=true";
  HubRepository repository{.id = id, .revision = revision};
  try {
    const json answer = json::parse(get(url, context));
    repository.commit = answer.at("sha");
    const json card = answer.value("cardData", json::object());
    if (card.is_object() && card.contains("license")) {
      repository.license = card["license"].is_string() ? card["license"].get<std::string>() : card["license"].dump();
    }
    for (const json& entry : answer.at("siblings")) {
      const json lfs = entry.value("lfs", json());
      HubFile file{entry.at("rfilename"), entry.at("size"), lfs.is_object() ? lfs.at("sha256") : entry.at("blobId")};
      if (!stays_inside(file.name) || !is_digest(file.digest) || file.size < 0) {
        throw NetworkError(describe(url, "files below the repository with their digests", entry.dump()));
      }
      repository.files.push_back(std::move(file));
    }
  } catch (const json::exception& error) {
    throw NetworkError(describe(url, "what a hub says of a repository", error.what()));
  }
  if (!is_digest(repository.commit)) throw NetworkError(describe(url, "a commit", "\"" + repository.commit + "\""));
  return repository;
}

fs::path Hub::pull(const HubRepository& repository, const std::vector<HubFile>& files, const Context& context) const {
  const fs::path root = folder(repository.id), snapshot = root / "snapshots" / repository.commit;
  context.progress().begin(repository.id, bytes_of(files));
  for (const HubFile& file : files) {
    pull_file(repository, file, context);
    const fs::path link = snapshot / file.name;
    std::error_code error;
    fs::create_directories(link.parent_path(), error);
    const fs::path target = fs::relative(root / "blobs" / file.digest, link.parent_path());
    if (fs::is_symlink(link, error) && fs::read_symlink(link, error) == target) continue;
    const fs::path fresh = link.string() + "." + std::to_string(::getpid());
    fs::remove(fresh, error);
    fs::create_symlink(target, fresh, error);
    if (!error) fs::rename(fresh, link, error);
    if (error) throw StoreError(describe(link.string(), "a link that can be made", error.message()));
  }
  context.progress().end();
  // Last: what it names is there.
  if (repository.revision != repository.commit) write_file(root / "refs" / repository.revision, repository.commit);
  return snapshot;
}

void Hub::pull_file(const HubRepository& repository, const HubFile& file, const Context& context) const {
  const fs::path root = folder(repository.id);
  const BlobLock lock(cache_ / ".locks" / root.filename() / (file.digest + ".lock"), context);
  Blob blob(root / "blobs" / file.digest, file.size);
  if (blob.is_whole()) return context.progress().advance(file.size);
  context.progress().advance(blob.begun());
  const std::string url = endpoint_ + "/" + repository.id + "/resolve/" + repository.commit + "/" + escaped(file.name);
  Backoff backoff(options_.retry_delay);
  std::string address = url;
  for (int64_t attempt = 0, redirects = 0;;) {
    std::string got;
    Incoming incoming;
    if (blob.begun() < file.size) {
      Transfers transfers(options_);
      Outgoing request{address, {"Accept-Encoding: identity"}, ""};
      if (blob.begun() > 0) request.headers.push_back(fmt::format("Range: bytes={}-", blob.begun()));
      // The token is the hub's, not that of where the hub keeps its large files.
      if (!token_.empty() && origin(address) == origin(endpoint_)) request.headers.push_back(token_.header());
      request.sink = [&](long status, std::string_view bytes) {
        if (status != 206 && blob.is_first_piece()) {
          context.progress().advance(-blob.begun());
          blob.restart();
        }
        context.progress().advance(std::ssize(bytes));
        return blob.append(bytes);
      };
      blob.expect_piece();
      transfers.start(0, std::move(request));
      std::vector<Incoming> ended;
      while (ended.empty()) {
        context.check();
        ended = transfers.wait(kGlance);
      }
      incoming = std::move(ended.front());
      blob.expect_space();
      if (!incoming.redirect.empty() && incoming.outcome == Outcome::kAnswered) {
        if (is_encrypted(address) && !is_encrypted(incoming.redirect)) {
          throw NetworkError(describe(url, "an encrypted address", "a redirect to one that is not"));
        }
        if (++redirects > 10) throw NetworkError(describe(url, "a file", "redirects without end"));
        address = incoming.redirect;
        continue;
      }
      got = incoming.outcome == Outcome::kAnswered
                ? fmt::format("status {}: {}", incoming.status, token_.removed_from(incoming.body.substr(0, 300)))
                : incoming.why;
      const bool refused = incoming.outcome == Outcome::kRefused ||
                           (incoming.outcome == Outcome::kAnswered && incoming.status >= 400 &&
                            incoming.status != 416 && incoming.status != 403 && !is_passing(incoming.status));
      if (refused) throw NetworkError(describe(url, "the file", got));
      if (incoming.status == 416) {
        context.progress().advance(-blob.begun());
        blob.restart();
      }
    }
    if (blob.begun() >= file.size) {
      if (blob.begun() == file.size && blob.digest(file.digest.size()) == file.digest) return blob.commit();
      got = fmt::format("{} bytes with another digest", blob.begun());
      context.progress().advance(-blob.begun());
      blob.restart();
    }
    if (attempt++ >= options_.max_retries) {
      throw NetworkError(describe(url, fmt::format("{} bytes with the digest {}", file.size, file.digest), got,
                                  "The same command goes on where it stopped"));
    }
    address = url;  // addresses of large files are good for a while only
    redirects = 0;
    sleep(std::max(retry_after(incoming.retry_after).value_or(Seconds(0)), backoff.delay(attempt - 1)), context);
  }
}

std::string pulled(const std::string& spec, const WireOptions& options, const Context& context) {
  constexpr std::string_view kScheme = "hub:";
  if (!spec.starts_with(kScheme)) return spec;
  const std::string name = spec.substr(kScheme.size());
  const size_t at = name.find('@');
  const std::string id = name.substr(0, at), revision = at == std::string::npos ? "main" : name.substr(at + 1);
  const fs::path root = Hub(options).folder(id), reference = root / "refs" / revision;
  std::error_code ignored;
  const std::string commit = fs::is_regular_file(reference, ignored) ? read_file(reference) : revision;
  const fs::path cached = root / "snapshots" / commit;
  const bool is_cached = fs::is_directory(cached, ignored);
  WireOptions asking = options;
  if (is_cached) asking.max_retries = 0;  // a machine without a network need not wait
  HubRepository repository;
  try {
    repository = Hub(asking).look(id, revision, context);
  } catch (const NetworkError& error) {
    if (!is_cached) throw;
    context.progress().note(fmt::format("{}: taken as it lies in the cache, since {}", spec, error.what()));
    return cached.string();
  }
  const std::vector<HubFile> files = files_to_pull(repository, {});
  context.progress().note(spec + ": " + summary(repository, files));
  return Hub(options).pull(repository, files, context).string();
}

}  // namespace readback::wire
