#include "readback/roundtrip/execute.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "readback/base/error.h"
#include "readback/base/stopwatch.h"
#include "readback/roundtrip/recording.h"

namespace readback::roundtrip {

namespace {

// One candidate on its way.
struct Unit {
  const data::Sample* sample = nullptr;
  CandidateRow row;
  image::Image image;  // T2I2T: what was just generated; empty after a resume
};

class Executor {
 public:
  Executor(const Plan& plan, const data::Dataset& dataset, caption::Captioner& captioner,
           generate::Generator& generator, Store& store, Progress& progress)
      : plan_(plan),
        dataset_(dataset),
        captioner_(captioner),
        generator_(generator),
        store_(store),
        progress_(progress),
        recorder_(store, plan.options.max_errors) {
    sampling_ = plan.options.sampling;
    sampling_.num_captions = plan.options.num_candidates;
    reading_ = plan.options.reading;
    reading_.num_captions = 1;
    generation_ = plan.options.generation;
    sampling_.seed = reading_.seed = generation_.seed = plan.options.seed;
  }

  Summary run() {
    const Stopwatch clock;
    std::vector<SampleRow> rows;
    for (const data::Sample& sample : plan_.samples) {
      rows.push_back({sample.id, static_cast<int64_t>(rows.size()), "", sample.references, sample.truth});
    }
    store_.add_samples(rows);
    store_.clear_errors();
    stored_ = store_.samples();

    Summary summary;
    summary.units = plan_.units();
    progress_.begin("round trips", summary.units);
    for (Direction direction : plan_.options.directions) {
      for (const CandidateRow& row : store_.candidates(direction)) summary.done_before += row.complete();
    }
    progress_.advance(summary.done_before);
    for (const Group& group : plan_.groups) run_group(group);
    progress_.end();

    for (Direction direction : plan_.options.directions) {
      for (const CandidateRow& row : store_.candidates(direction)) {
        summary.truncated_prompts += row.truncated_tokens > 0;
        summary.flagged_images += row.flagged;
      }
    }
    summary.failed_samples = recorder_.failed_samples();
    summary.seconds = clock.seconds();
    return summary;
  }

 private:
  void run_group(const Group& group) {
    std::map<Direction, std::vector<Unit>> work;
    std::set<const data::Sample*> failed;
    for (Direction direction : plan_.options.directions) work[direction] = pending(group, direction);
    originals_.clear();
    for (int64_t i = group.first; i < group.last; ++i) {
      if (!load_original(i, work)) failed.insert(&plan_.samples[i]);
    }
    for (Direction direction : plan_.options.directions) {
      std::vector<Unit>& units = work[direction];
      const size_t before = units.size();
      std::erase_if(units, [&](const Unit& unit) { return failed.contains(unit.sample); });
      progress_.advance(static_cast<int64_t>(before - units.size()));
      if (direction == Direction::kI2T2I) {
        image_text_image(group, units);
      } else {
        text_image_text(group, units);
      }
    }
  }

  // The group's candidates that are not complete, as far as they got.
  std::vector<Unit> pending(const Group& group, Direction direction) const {
    std::vector<Unit> units;
    for (int64_t i = group.first; i < group.last; ++i) {
      const data::Sample& sample = plan_.samples[i];
      std::vector<Unit> of_sample;
      for (int64_t k = 0; k < plan_.options.num_candidates; ++k) {
        Unit unit{&sample, {}, {}};
        unit.row.key = {direction, sample.id, k};
        of_sample.push_back(std::move(unit));
      }
      for (CandidateRow& row : store_.candidates(direction, sample.id)) {
        if (row.image && !store_.has_image(*row.image)) row.image.reset();
        of_sample.at(static_cast<size_t>(row.key.candidate)).row = std::move(row);
      }
      for (Unit& unit : of_sample) {
        if (!unit.row.complete()) units.push_back(std::move(unit));
      }
    }
    return units;
  }

  // Copies the original into the run folder and keeps it in memory where the captioner will need it.
  bool load_original(int64_t index, const std::map<Direction, std::vector<Unit>>& work) {
    const data::Sample& sample = plan_.samples[index];
    SampleRow& row = stored_[index];
    const auto found = work.find(Direction::kI2T2I);
    const bool needed = found != work.end() && std::ranges::any_of(found->second, [&](const Unit& unit) {
                          return unit.sample == &sample && !unit.row.text;
                        });
    if (!row.image.empty() && !store_.has_image(row.image)) row.image.clear();
    if (!row.image.empty() && !needed) return true;
    return recorder_.attempt({sample.id, {}, -1, "original", ""}, [&] {
      image::Image image = row.image.empty() ? dataset_.load_image(index) : store_.load_image(row.image);
      if (row.image.empty()) row.image = store_.set_original(sample.id, image);
      if (needed) originals_[&sample] = std::move(image);
    });
  }

  // Runs `work` on the units together; where that fails, on each by itself, so that only the culprits are recorded.
  void attempt(const std::vector<Unit*>& units, const std::string& stage,
               const std::function<void(const std::vector<Unit*>&)>& work, bool whole_samples = false) {
    if (units.empty()) return;
    check_interrupt();
    if (units.size() > 1 && recorder_.survives([&] { work(units); })) return;
    for (Unit* unit : units) {
      check_interrupt();
      const int64_t candidate = whole_samples ? -1 : unit->row.key.candidate;
      recorder_.attempt({unit->sample->id, unit->row.key.direction, candidate, stage, ""}, [&] { work({unit}); });
    }
  }

  // All candidates of a sample come from one request; so the "units" here are each sample's first.
  void image_text_image(const Group& group, std::vector<Unit>& units) {
    std::vector<Unit*> samples;
    for (Unit& unit : units) {
      if (!unit.row.text && (samples.empty() || samples.back()->sample != unit.sample)) samples.push_back(&unit);
    }
    attempt(
        samples, "text", [&](const std::vector<Unit*>& batch) { caption_samples(batch, units); }, true);
    for_each_slice(group, units, [&](const std::vector<Unit*>& slice) {
      attempt(select(slice, [](const Unit& unit) { return unit.row.text && !unit.row.image; }), "image",
              [&](const std::vector<Unit*>& batch) {
                generate_images(batch, [](const Unit& unit) { return *unit.row.text; });
              });
    });
  }

  void text_image_text(const Group& group, std::vector<Unit>& units) {
    std::erase_if(units, [&](const Unit& unit) {
      if (!unit.sample->references.empty()) return false;
      progress_.advance(1);
      if (unit.row.key.candidate == 0) {
        recorder_.record({unit.sample->id, Direction::kT2I2T, -1, "text", "the sample has no text to begin with"});
      }
      return true;
    });
    for_each_slice(group, units, [&](const std::vector<Unit*>& slice) {
      attempt(select(slice, [](const Unit& unit) { return !unit.row.image; }), "image",
              [&](const std::vector<Unit*>& batch) {
                generate_images(batch, [](const Unit& unit) { return unit.sample->references.front(); });
              });
      attempt(select(slice, [](const Unit& unit) { return unit.row.image && !unit.row.text; }), "text",
              [&](const std::vector<Unit*>& batch) { read_images(batch); });
    });
  }

  // Slices of at most batch_size units for each process, cut at fixed places of the group so that a resume cuts alike.
  void for_each_slice(const Group& group, std::vector<Unit>& units,
                      const std::function<void(const std::vector<Unit*>&)>& work) {
    const int64_t length = plan_.options.batch_size * plan_.options.processes;
    std::map<int64_t, std::vector<Unit*>> slices;
    for (Unit& unit : units) {
      const int64_t position = (unit.sample - &plan_.samples[group.first]) * plan_.options.num_candidates;
      slices[(position + unit.row.key.candidate) / length].push_back(&unit);
    }
    for (auto& [index, slice] : slices) {
      work(slice);
      progress_.advance(static_cast<int64_t>(slice.size()), slice.back()->sample->id);
    }
  }

  static std::vector<Unit*> select(const std::vector<Unit*>& units, const std::function<bool(const Unit&)>& wanted) {
    std::vector<Unit*> result;
    std::ranges::copy_if(units, std::back_inserter(result), [&](const Unit* unit) { return wanted(*unit); });
    return result;
  }

  void caption_samples(const std::vector<Unit*>& firsts, std::vector<Unit>& units) {
    const Stopwatch clock;
    std::vector<caption::Request> requests;
    for (const Unit* unit : firsts) requests.push_back({originals_.at(unit->sample), unit->sample->id, 0});
    const auto captions = captioner_.caption(requests, sampling_);
    require_count("captioner", captions.size(), requests.size());
    const double share = clock.seconds() / static_cast<double>(requests.size() * plan_.options.num_candidates);

    std::vector<Unit*> filled;
    for (size_t i = 0; i < firsts.size(); ++i) {
      require_count("captioner", captions[i].size(), static_cast<size_t>(plan_.options.num_candidates));
      for (Unit& unit : units) {
        if (unit.sample != firsts[i]->sample || unit.row.text) continue;
        set_caption(unit.row, captions[i][static_cast<size_t>(unit.row.key.candidate)], share);
        filled.push_back(&unit);
      }
    }
    commit(filled);
  }

  void read_images(const std::vector<Unit*>& units) {
    const Stopwatch clock;
    std::vector<caption::Request> requests;
    for (const Unit* unit : units) {
      requests.push_back({unit->image.pixels.empty() ? store_.load_image(*unit->row.image) : unit->image,
                          unit->sample->id, unit->row.key.candidate});
    }
    const auto captions = captioner_.caption(requests, reading_);
    require_count("captioner", captions.size(), units.size());
    for (size_t i = 0; i < units.size(); ++i) {
      require_count("captioner", captions[i].size(), 1);
      set_caption(units[i]->row, captions[i].front(), clock.seconds() / static_cast<double>(units.size()));
    }
    commit(units);
  }

  void generate_images(const std::vector<Unit*>& units, const std::function<std::string(const Unit&)>& prompt) {
    const Stopwatch clock;
    std::vector<generate::Request> requests;
    for (const Unit* unit : units) {
      requests.push_back({prompt(*unit), unit->sample->id, unit->row.key.candidate, {}});
    }
    std::vector<generate::Picture> pictures = generator_.generate(requests, generation_);
    require_count("generator", pictures.size(), units.size());
    for (size_t i = 0; i < units.size(); ++i) {
      CandidateRow& row = units[i]->row;
      row.image = store_.save_image(row.key, pictures[i].image);
      row.image_seed = pictures[i].seed;
      row.flagged = pictures[i].flagged;
      row.truncated_tokens = pictures[i].truncated_tokens;
      row.image_seconds = clock.seconds() / static_cast<double>(units.size());
      units[i]->image = std::move(pictures[i].image);
    }
    commit(units);
  }

  static void set_caption(CandidateRow& row, const caption::Caption& caption, double seconds) {
    row.text = caption.text;
    row.token_ids = caption.token_ids;
    row.log_probability = caption.log_probability;
    row.text_seconds = seconds;
  }

  static void require_count(const char* who, size_t got, size_t expected) {
    if (got != expected) {
      throw DataError(describe(who, fmt::format("{} results", expected), std::to_string(got)));
    }
  }

  void commit(const std::vector<Unit*>& units) {
    std::vector<CandidateRow> rows;
    for (const Unit* unit : units) rows.push_back(unit->row);
    store_.put_candidates(rows);
  }

  const Plan& plan_;
  const data::Dataset& dataset_;
  caption::Captioner& captioner_;
  generate::Generator& generator_;
  Store& store_;
  Progress& progress_;
  Recorder recorder_;
  caption::DecodingOptions sampling_, reading_;
  generate::GenerationOptions generation_;
  std::vector<SampleRow> stored_;  // in the plan's order
  std::map<const data::Sample*, image::Image> originals_;
};

}  // namespace

Summary execute(const Plan& plan, const data::Dataset& dataset, caption::Captioner& captioner,
                generate::Generator& generator, Store& store, Progress& progress) {
  return Executor(plan, dataset, captioner, generator, store, progress).run();
}

}  // namespace readback::roundtrip
