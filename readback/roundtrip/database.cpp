#include "readback/roundtrip/database.h"

#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cmath>

#include "readback/base/error.h"

namespace readback::roundtrip {

namespace {

// SQLite reads a database in WAL mode through files that it makes beside it. Where it cannot make them and nobody is
// writing, the database may be taken as it is.
bool is_immutable(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  return ::access(folder.c_str(), W_OK) != 0 && !std::filesystem::exists(path.string() + "-wal", error);
}

std::string immutable_uri(const std::filesystem::path& path) {
  std::string uri = "file:";
  for (const char c : path.string()) {
    uri += c == '%' || c == '?' || c == '#' ? fmt::format("%{:02X}", static_cast<unsigned char>(c)) : std::string(1, c);
  }
  return uri + "?immutable=1";
}

// The table that a statement is about, for messages.
std::string table_of(const std::string& sql) {
  for (const char* before : {"FROM ", "INTO ", "UPDATE "}) {
    const size_t at = sql.find(before);
    if (at == std::string::npos) continue;
    const size_t begin = at + std::string(before).size();
    return sql.substr(begin, sql.find_first_of(" (;", begin) - begin);
  }
  return sql.substr(0, 40);
}

constexpr const char* kDamaged = "The run is damaged: restore its folder from a copy, or begin in another";

}  // namespace

Database::Database(const std::filesystem::path& path, Mode mode) : path_(path) {
  const bool immutable = mode == Mode::kReadOnly && is_immutable(path);
  const int flags = mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  const std::string name = immutable ? immutable_uri(path) : path.string();
  if (sqlite3_open_v2(name.c_str(), &handle_, immutable ? flags | SQLITE_OPEN_URI : flags, nullptr) != SQLITE_OK) {
    const std::string reason = handle_ ? sqlite3_errmsg(handle_) : "out of memory";
    sqlite3_close(handle_);
    throw StoreError(describe(path.string(), "a run's database", reason, "Give the folder of a run"));
  }
  sqlite3_busy_timeout(handle_, 10'000);
}

Database::~Database() { sqlite3_close(handle_); }

void Database::fail(const std::string& sql) const {
  const int code = sqlite3_errcode(handle_);
  std::string next;
  if (code == SQLITE_FULL) next = "The disk is full: free some space and start again; what was committed is safe";
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT || code == SQLITE_ERROR) next = kDamaged;
  throw StoreError(describe(fmt::format("{}, {}", path_.string(), table_of(sql)), "a run's database",
                            sqlite3_errmsg(handle_), next));
}

void Database::execute(const std::string& sql) {
  if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail(sql);
}

void Database::transaction(const std::function<void()>& work) {
  execute("BEGIN IMMEDIATE");
  try {
    work();
    execute("COMMIT");
  } catch (...) {
    sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
}

Statement::Statement(Database& database, const std::string& sql) : database_(database) {
  if (sqlite3_prepare_v2(database.handle_, sql.c_str(), -1, &handle_, nullptr) != SQLITE_OK) database.fail(sql);
}

Statement::~Statement() { sqlite3_finalize(handle_); }

void Statement::check(int code) const {
  if (code != SQLITE_OK) database_.fail(sqlite3_sql(handle_));
}

void Statement::begin_binding(size_t values) {
  sqlite3_reset(handle_);
  const int expected = sqlite3_bind_parameter_count(handle_);
  if (static_cast<size_t>(expected) != values) {
    throw StoreError(describe(fmt::format("{}, {}", database_.path_.string(), table_of(sqlite3_sql(handle_))),
                              fmt::format("{} parameters", expected), std::to_string(values),
                              "This is a fault of readback: please report it"));
  }
}

bool Statement::step() {
  const int code = sqlite3_step(handle_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) database_.fail(sqlite3_sql(handle_));
  return code == SQLITE_ROW;
}

void Statement::bind_one(int index, int64_t value) { check(sqlite3_bind_int64(handle_, index, value)); }

void Statement::bind_one(int index, double value) {
  check(std::isnan(value) ? sqlite3_bind_null(handle_, index) : sqlite3_bind_double(handle_, index, value));
}

void Statement::bind_one(int index, const std::string& value) {
  check(sqlite3_bind_text64(handle_, index, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

void Statement::bind_null(int index) { check(sqlite3_bind_null(handle_, index)); }

int64_t Statement::integer(int column, int64_t least, int64_t most) const {
  const int64_t value = sqlite3_column_int64(handle_, column);
  if (sqlite3_column_type(handle_, column) != SQLITE_INTEGER || value < least || value > most) {
    const bool any = least == INT64_MIN && most == INT64_MAX;
    damaged(column, any                 ? "an integer"
                    : most == INT64_MAX ? fmt::format("an integer of {} or more", least)
                                        : fmt::format("an integer from {} to {}", least, most));
  }
  return value;
}

double Statement::real(int column) const {
  const int type = sqlite3_column_type(handle_, column);
  if (type != SQLITE_FLOAT && type != SQLITE_INTEGER) damaged(column, "a number");
  return sqlite3_column_double(handle_, column);
}

std::string Statement::text(int column) const {
  if (sqlite3_column_type(handle_, column) != SQLITE_TEXT) damaged(column, "a text");
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  return bytes ? std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(handle_, column))) : std::string();
}

std::optional<double> Statement::optional_real(int column) const {
  return is_null(column) ? std::nullopt : std::optional(real(column));
}

std::optional<std::string> Statement::optional_text(int column) const {
  return is_null(column) ? std::nullopt : std::optional(text(column));
}

bool Statement::is_null(int column) const { return sqlite3_column_type(handle_, column) == SQLITE_NULL; }

std::string Statement::shown(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  return bytes ? std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(handle_, column))) : "NULL";
}

void Statement::damaged(int column, const std::string& expected) const {
  std::string got = shown(column).substr(0, 60);
  if (!is_null(column)) got = "\"" + got + "\"";
  throw StoreError(describe(fmt::format("{}, column {} of {}", database_.path_.string(),
                                        sqlite3_column_name(handle_, column), table_of(sqlite3_sql(handle_))),
                            expected, got, kDamaged));
}

}  // namespace readback::roundtrip
