#include "readback/roundtrip/database.h"

#include <sqlite3.h>

#include <cmath>

#include "readback/base/error.h"

namespace readback::roundtrip {

Database::Database(const std::filesystem::path& path, Mode mode) : path_(path) {
  const int flags = mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  if (sqlite3_open_v2(path.c_str(), &handle_, flags, nullptr) != SQLITE_OK) {
    const std::string reason = handle_ ? sqlite3_errmsg(handle_) : "out of memory";
    sqlite3_close(handle_);
    throw StoreError(describe(path.string(), "a run's database", reason));
  }
  sqlite3_busy_timeout(handle_, 10'000);
}

Database::~Database() { sqlite3_close(handle_); }

void Database::fail(const std::string& sql) const {
  const int code = sqlite3_errcode(handle_);
  std::string next;
  if (code == SQLITE_FULL) next = "The disk is full: free some space and start again; what was committed is safe";
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) next = "The file is damaged; use another folder";
  throw StoreError(describe(path_.string() + " (" + sql.substr(0, 60) + ")", "", sqlite3_errmsg(handle_), next));
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

void Statement::reset() { sqlite3_reset(handle_); }

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
  check(sqlite3_bind_text(handle_, index, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT));
}

void Statement::bind_null(int index) { check(sqlite3_bind_null(handle_, index)); }

bool Statement::is_null(int column) const { return sqlite3_column_type(handle_, column) == SQLITE_NULL; }
int64_t Statement::integer(int column) const { return sqlite3_column_int64(handle_, column); }
double Statement::real(int column) const { return sqlite3_column_double(handle_, column); }

std::string Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  return bytes ? std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(handle_, column))) : std::string();
}

}  // namespace readback::roundtrip
