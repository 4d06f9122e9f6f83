// Damaged runs: whatever a folder holds, reading it gives rows or a StoreError that names the file.
#include <gtest/gtest.h>

#include <set>

#include "readback/base/files.h"
#include "readback/base/random.h"
#include "readback/roundtrip/database.h"
#include "runs.h"

namespace readback::roundtrip {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// "" or a StoreError's message; fails on anything else that is thrown. A message must name the folder's file.
std::string outcome(const fs::path& folder, const std::string& what) {
  try {
    runs::read_all(folder);
    return "";
  } catch (const StoreError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find(folder.string()), std::string::npos) << what << ": " << message;
    return message;
  } catch (const std::exception& error) {
    ADD_FAILURE() << what << ": " << typeid(error).name() << ": " << error.what();
  }
  return "";
}

// A run whose tables hold anything, since they are without constraints and types.
class DamagedRun : public testing::Test {
 protected:
  void SetUp() override {
    runs::make_run(folder_);
    runs::execute(folder_, "PRAGMA journal_mode = DELETE; DROP INDEX flagged_candidates");
    Database database(folder_ / "run.sqlite", Database::Mode::kReadWrite);
    database.execute("PRAGMA synchronous = OFF");
    for (const char* table :
         {"samples", "candidates", "errors", "metrics", "scores", "floors", "ceilings", "set_curves"}) {
      Statement row(database, std::string("SELECT name FROM pragma_table_info('") + table + "')");
      while (row.step()) columns_.emplace_back(table, row.text(0));
    }
    std::set<std::string> done;
    for (const auto& [table, column] : columns_) {
      if (!done.insert(table).second) continue;
      database.execute("CREATE TABLE copy AS SELECT * FROM " + table + "; DROP TABLE " + table +
                       "; ALTER TABLE copy RENAME TO " + table);
    }
    database.execute("VACUUM");
    whole_ = read_file(folder_ / "run.sqlite");
  }
  void damage(const std::string& sql) {
    runs::write(folder_ / "run.sqlite", whole_);
    runs::execute(folder_, sql);
  }

  runs::Folder folder_;
  std::vector<std::pair<std::string, std::string>> columns_;  // table, column
  std::string whole_;
};

TEST_F(DamagedRun, EveryColumnOfEveryTable) {
  ASSERT_EQ(outcome(folder_, "whole"), "");
  ASSERT_EQ(columns_.size(), 6u + 13 + 5 + 7 + 5 + 6 + 3 + 6);
  const char* values[] = {"NULL",
                          "''",
                          "'x'",
                          "-1",
                          "1.5",
                          "9e999",
                          "9223372036854775807",
                          "x'00ff'",
                          "'['",
                          "'{}'",
                          "'[[1]]'",
                          "'[1.5]'",
                          "'[9223372036854775808]'",
                          "'../run.json'"};
  std::set<std::string> noticed;
  for (const auto& [table, column] : columns_) {
    for (const char* value : values) {
      for (const char* rows : {"", " WHERE rowid = 1"}) {
        const std::string sql = "UPDATE " + table + " SET " + column + " = " + value + rows;
        damage(sql);
        const std::string message = outcome(folder_, sql);
        if (message.empty()) continue;
        noticed.insert(table + "." + column);
        EXPECT_NE(message.find("expected"), std::string::npos) << message;
      }
    }
  }
  // Columns of keys find no rows when they hold something else; people's columns are never read.
  for (const auto& [table, column] : columns_) {
    const bool key = (column == "direction" && table != "errors" && table != "metrics") ||
                     (column == "metric" && (table == "scores" || table == "floors" || table == "ceilings"));
    const bool unread = column == "finished" || (table == "metrics" && column == "position") ||
                        (column == "sample" && table != "samples");  // joined with samples
    if (key || unread) continue;
    EXPECT_TRUE(noticed.contains(table + "." + column)) << table << "." << column;
  }
}

TEST_F(DamagedRun, MessagesNameColumnValueAndWhatToDo) {
  damage("UPDATE candidates SET image_seed = 'seven'");
  const std::string message = outcome(folder_, "image_seed");
  EXPECT_NE(
      message.find("run.sqlite, column image_seed of candidates: expected an unsigned 64-bit integer, got \"seven\""),
      std::string::npos)
      << message;
  EXPECT_NE(message.find("restore its folder from a copy"), std::string::npos) << message;
}

TEST_F(DamagedRun, CandidatesOutOfRangeAreErrors) {
  for (const char* table : {"candidates", "scores", "floors"}) {
    damage(std::string("UPDATE ") + table + " SET candidate = 2 WHERE candidate = 1");
    EXPECT_NE(outcome(folder_, table).find("an integer from 0 to 1, got \"2\""), std::string::npos) << table;
  }
}

TEST_F(DamagedRun, RanksAreCounted) {
  for (const char* sql : {"DELETE FROM set_curves WHERE rank = 0", "DELETE FROM set_curves WHERE rank = 1",
                          "UPDATE set_curves SET rank = rank - 1", "UPDATE set_curves SET rank = 0",
                          "UPDATE set_curves SET distance = 'other' WHERE rank = 1"}) {
    damage(sql);
    EXPECT_NE(outcome(folder_, sql), "") << sql;
  }
}

TEST_F(DamagedRun, PositionsOfSamplesAreCounted) {
  for (const char* sql : {"DELETE FROM samples WHERE position = 0", "UPDATE samples SET position = 0"}) {
    damage(sql);
    EXPECT_NE(outcome(folder_, sql), "") << sql;
  }
}

TEST_F(DamagedRun, TablesAreMissing) {
  for (const char* table :
       {"samples", "candidates", "errors", "metrics", "scores", "floors", "ceilings", "set_curves"}) {
    damage(std::string("DROP TABLE ") + table);
    EXPECT_NE(outcome(folder_, table).find("no such table"), std::string::npos) << table;
  }
}

TEST_F(DamagedRun, TheFileIsCutOrAnother) {
  for (size_t size = 0; size < whole_.size(); size += size < 200 ? 20 : 1500) {
    runs::write(folder_ / "run.sqlite", whole_.substr(0, size));
    EXPECT_NE(outcome(folder_, "cut at " + std::to_string(size)), "") << size;
    runs::message_of([&] { Store::open_for_writing(folder_, runs::manifest()).candidates(Direction::kI2T2I); });
  }
  runs::write(folder_ / "run.sqlite", std::string(8192, 'x'));
  EXPECT_NE(outcome(folder_, "no database").find("not a database"), std::string::npos);
  fs::remove(folder_ / "run.sqlite");
  EXPECT_NE(outcome(folder_, "missing"), "");
  fs::create_directory(folder_ / "run.sqlite");
  EXPECT_NE(outcome(folder_, "a folder"), "");
}

TEST_F(DamagedRun, BytesAreFlipped) {
  Random random(1, Purpose::kTest, "flips");
  for (int i = 0; i < 300; ++i) {
    std::string bytes = whole_;
    for (int k = 0; k < 4; ++k) bytes[random.below(bytes.size())] ^= static_cast<char>(1 << random.below(8));
    runs::write(folder_ / "run.sqlite", bytes);
    outcome(folder_, "flip " + std::to_string(i));
  }
}

TEST_F(DamagedRun, TablesOfALaterVersionAreNamed) {
  damage("PRAGMA user_version = 99");
  EXPECT_NE(outcome(folder_, "later").find("tables of version 1 to 5, got 99"), std::string::npos);
  damage("PRAGMA user_version = 0");
  EXPECT_NE(outcome(folder_, "none").find("got none"), std::string::npos);
}

TEST_F(DamagedRun, PicturesOutsideTheFolderAreNotRead) {
  const Store store = Store::open(folder_);
  runs::write(folder_.path().parent_path() / (folder_.path().filename().string() + "-secret"), "secret");
  const std::string outside = "../" + folder_.path().filename().string() + "-secret";
  EXPECT_FALSE(store.has_image(outside));
  EXPECT_NE(runs::message_of([&] { store.load_image(outside); }), "");
  EXPECT_NE(runs::message_of([&] { store.load_image("/etc/passwd"); }), "");
  fs::remove(folder_ / outside);
}

TEST(DamagedManifest, EveryKey) {
  runs::Folder folder;
  runs::make_run(folder);
  const json whole = json::parse(read_file(folder / "run.json"));
  std::vector<json::json_pointer> keys;
  const std::function<void(const json&, const json::json_pointer&)> collect = [&](const json& object, const auto& at) {
    for (const auto& [key, value] : object.items()) {
      keys.push_back(at / key);
      if (value.is_object()) collect(value, at / key);
    }
  };
  collect(whole, json::json_pointer());
  ASSERT_GT(keys.size(), 15u);
  std::set<std::string> noticed;
  const json values[] = {nullptr,
                         "x",
                         "",
                         -1,
                         0,
                         1.5,
                         1e300,
                         UINT64_MAX,
                         true,
                         json::array(),
                         json::array({1}),
                         json::array({"i2t2i", "i2t2i"}),
                         json::object(),
                         json::object({{"a", 1}})};
  const auto check = [&](const json& damaged, const std::string& what) {
    runs::write(folder / "run.json", damaged.dump());
    if (!outcome(folder, what).empty()) noticed.insert(what.substr(0, what.find(' ')));
    try {
      Store::open_for_writing(folder, runs::manifest());
    } catch (const StoreError&) {
    }
  };
  for (const json::json_pointer& key : keys) {
    json damaged = whole;
    damaged[key.parent_pointer()].erase(key.back());
    check(damaged, key.to_string() + " missing");
    for (const json& value : values) {
      damaged = whole;
      damaged[key] = value;
      check(damaged, key.to_string() + " = " + value.dump());
    }
  }
  EXPECT_EQ(noticed,
            (std::set<std::string>{"/about", "/device", "/digests", "/format", "/options", "/options/directions",
                                   "/options/num_candidates", "/options/seed", "/results_version"}));
}

TEST(DamagedManifest, MessagesNameTheKey) {
  runs::Folder folder;
  runs::make_run(folder);
  const json whole = json::parse(read_file(folder / "run.json"));
  json damaged = whole;
  damaged["options"].erase("num_candidates");
  runs::write(folder / "run.json", damaged.dump());
  EXPECT_NE(outcome(folder, "").find("run.json, num_candidates: expected an integer from 1 to 1000000, got nothing"),
            std::string::npos);
  damaged = whole;
  damaged["options"]["directions"] = {"i2t2i", "sideways"};
  runs::write(folder / "run.json", damaged.dump());
  EXPECT_NE(outcome(folder, "").find("got [\"i2t2i\",\"sideways\"]"), std::string::npos);
}

TEST(DamagedManifest, OtherFiles) {
  runs::Folder folder;
  runs::make_run(folder);
  const std::string whole = read_file(folder / "run.json");
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  const std::string nested = "{\"format\": 2, \"options\": " + deep + "}";
  for (const std::string& text : {std::string(), std::string("null"), std::string("[]"), std::string("7"),
                                  std::string("\xff\xfe"), whole.substr(0, whole.size() / 2), deep, nested}) {
    runs::write(folder / "run.json", text);
    EXPECT_NE(outcome(folder, text.substr(0, 20)), "") << text.substr(0, 20);
  }
}

TEST(DamagedManifest, TextsThatAreNoUtf8AreReplaced) {
  runs::Folder folder;
  Manifest manifest = runs::manifest();
  manifest.options["sampling"]["prompt"] = "caf\xe9";
  Store::open_for_writing(folder, manifest);
  Store::open_for_writing(folder, manifest);  // and are the same run again
  EXPECT_EQ(Store::open(folder).manifest().options["sampling"]["prompt"], "caf\xef\xbf\xbd");
}

TEST(Statements, TakeAllTheirParameters) {
  runs::Folder folder;
  Database database(folder / "a.sqlite", Database::Mode::kReadWrite);
  database.execute("CREATE TABLE t (a, b)");
  Statement insert(database, "INSERT INTO t VALUES (?, ?)");
  EXPECT_NE(runs::message_of([&] { insert.run(1); }).find("expected 2 parameters, got 1"), std::string::npos);
  EXPECT_NE(runs::message_of([&] { insert.run(1, 2, 3); }).find("expected 2 parameters, got 3"), std::string::npos);
  insert.run(1, 2);
}

}  // namespace
}  // namespace readback::roundtrip
