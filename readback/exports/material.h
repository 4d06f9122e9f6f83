// What every layout is written from.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "readback/exports/export.h"

namespace readback::exports {

struct Material {
  const roundtrip::Store& store;
  roundtrip::Direction direction;
  const ExportOptions& options;
  const Context& context;
  std::vector<roundtrip::SampleRow> samples;
  std::map<std::string, std::vector<roundtrip::CandidateRow>> candidates;  // complete ones, by sample
  roundtrip::Choices choices;                                              // of a format that chooses

  bool captions() const { return direction == roundtrip::Direction::kI2T2I; }  // what the candidates are: else pictures
  const roundtrip::SampleRow& sample(const roundtrip::Choice& choice) const;
  const roundtrip::CandidateRow& candidate(const roundtrip::Choice& choice, int64_t number) const;
  const roundtrip::CandidateRow& chosen(const roundtrip::Choice& choice) const;
  // What belongs together of a sample, whichever way: a picture and a text of which one is a candidate's.
  std::string picture_of(const roundtrip::SampleRow& sample, const roundtrip::CandidateRow& row) const;
  std::string text_of(const roundtrip::SampleRow& sample, const roundtrip::CandidateRow& row) const;
  // What is known of a candidate but for its sample; scores by metric.
  nlohmann::ordered_json told(const roundtrip::CandidateRow& row) const;
  std::map<std::string, std::map<roundtrip::CandidateKey, double>> scores;  // by metric

  // Every sample that has candidates, with these, in the samples' order.
  void for_each_sample(const std::function<void(const roundtrip::SampleRow& sample,
                                                const std::vector<roundtrip::CandidateRow>& rows)>& write) const;
  // The run's file as it is, under the export's folder.
  void copy_picture(const std::string& relative, const std::filesystem::path& target) const;
};

// A sample's id as an integer where that is what it is written as: data sets whose ids are integers want them back.
nlohmann::ordered_json id_as_given(const std::string& id);

// records.cpp
int64_t write_json_lines(const Material& material, const std::filesystem::path& path);
int64_t write_csv(const Material& material, const std::filesystem::path& path);
int64_t write_coco_results(const Material& material, const std::filesystem::path& path);
// pictures.cpp
int64_t write_side_files(const Material& material, const std::filesystem::path& path);
int64_t write_webdataset(const Material& material, const std::filesystem::path& path);
int64_t write_pictures(const Material& material, const std::filesystem::path& path);
// preferences.cpp
int64_t write_preferences(const Material& material, const std::filesystem::path& path);

}  // namespace readback::exports
