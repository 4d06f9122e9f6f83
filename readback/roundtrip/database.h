// The little of SQLite that the store needs. Errors: StoreError that names the file, with SQLite's reason or the column
// that holds something else than it should.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

struct sqlite3;
struct sqlite3_stmt;

namespace readback::roundtrip {

class Database {
 public:
  // Read-only works in folders that nobody may write, too.
  enum class Mode { kReadWrite, kReadOnly };
  Database(const std::filesystem::path& path, Mode mode);
  Database(const Database&) = delete;
  ~Database();

  void execute(const std::string& sql);  // one or more statements without results
  // All of `work`'s changes or, when it throws, none.
  void transaction(const std::function<void()>& work);

 private:
  friend class Statement;
  [[noreturn]] void fail(const std::string& sql) const;
  std::filesystem::path path_;
  sqlite3* handle_ = nullptr;
};

// A prepared statement. bind() takes all parameters in order; then step() until it gives false.
class Statement {
 public:
  Statement(Database& database, const std::string& sql);
  Statement(const Statement&) = delete;
  ~Statement();

  template <typename... Values>
  Statement& bind(const Values&... values) {
    begin_binding(sizeof...(values));
    int index = 0;
    (bind_one(++index, values), ...);
    return *this;
  }
  bool step();
  // For statements without results: binds and runs.
  template <typename... Values>
  void run(const Values&... values) {
    bind(values...);
    step();
  }

  // Of the row that step() came to. A value of another type is an error, NULL too but for the optional ones.
  int64_t integer(int column, int64_t least = INT64_MIN, int64_t most = INT64_MAX) const;
  double real(int column) const;
  std::string text(int column) const;
  std::optional<double> optional_real(int column) const;
  std::optional<std::string> optional_text(int column) const;

  bool is_null(int column) const;
  std::string shown(int column) const;  // any value as text; NULL as "NULL"
  // Throws the error of a value that is not what it should be.
  [[noreturn]] void damaged(int column, const std::string& expected) const;

 private:
  void begin_binding(size_t values);
  void bind_one(int index, int64_t value);
  void bind_one(int index, int value) { bind_one(index, int64_t{value}); }
  void bind_one(int index, bool value) { bind_one(index, int64_t{value}); }
  void bind_one(int index, double value);  // NaN becomes NULL
  void bind_one(int index, const std::string& value);
  void bind_one(int index, const char* value) { bind_one(index, std::string(value)); }
  template <typename Value>
  void bind_one(int index, const std::optional<Value>& value) {
    if (value) {
      bind_one(index, *value);
    } else {
      bind_null(index);
    }
  }
  void bind_null(int index);
  void check(int code) const;

  Database& database_;
  sqlite3_stmt* handle_ = nullptr;
};

}  // namespace readback::roundtrip
