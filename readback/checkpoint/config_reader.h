// Reading a model's configuration in full: an option that the code does not know and that could change the result
// is an error, not a silent default.
#pragma once
#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace readback::checkpoint {

class ConfigReader {
 public:
  // `where` names the file (and section) in messages.
  ConfigReader(nlohmann::json config, std::string where);

  // The value under `key`, or `fallback` when it is absent or null. Marks the key as known. Errors: CheckpointError
  // when the type differs.
  template <typename T>
  T get(const std::string& key, const T& fallback);
  template <typename T>
  T require(const std::string& key);
  bool has(const std::string& key) const;
  ConfigReader section(const std::string& key);  // a nested object (empty when absent)

  // The option must be absent, null or one of `allowed`: for options of which we implement some values only.
  void expect(const std::string& key, std::initializer_list<nlohmann::json> allowed);
  // Known options that do not change what inference gives (dropout, initializer_range, …).
  void ignore(std::initializer_list<const char*> keys);
  // Throws CheckpointError listing every key that nobody asked for. Keys of transformers' base configuration that
  // concern other things than the architecture (_name_or_path, transformers_version, generation defaults …) are known.
  void finish() const;

  const nlohmann::json& raw() const { return config_; }
  const std::string& where() const { return where_; }

 private:
  nlohmann::json config_;
  std::string where_;
  std::set<std::string> known_;
};

template <typename T>
T ConfigReader::get(const std::string& key, const T& fallback) {
  known_.insert(key);
  return has(key) ? require<T>(key) : fallback;
}

}  // namespace readback::checkpoint
