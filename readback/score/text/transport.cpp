#include "readback/score/text/transport.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace readback::score {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

class Transport {
 public:
  Transport(std::span<const int64_t> supplies, std::span<const int64_t> demands, std::span<const double> costs)
      : left_(supplies.begin(), supplies.end()),
        wanted_(demands.begin(), demands.end()),
        costs_(costs),
        rows_(supplies.size()),
        columns_(demands.size()),
        row_potential_(rows_, 0),
        column_potential_(columns_, kInfinity),
        flows_(columns_) {}

  double solve(const Context& context) {
    // Reduced costs, cost(i, j) - row potential - column potential, are never negative and are zero where goods flow.
    for (size_t i = 0; i < rows_; ++i) {
      for (size_t j = 0; j < columns_; ++j) column_potential_[j] = std::min(column_potential_[j], cost(i, j));
    }
    for (size_t i = 0; i < rows_; ++i) {
      while (left_[i] > 0) augment(i);
      if (i % 16 == 0) context.check();
    }
    double total = 0;
    for (size_t j = 0; j < columns_; ++j) {
      for (const Flow& flow : flows_[j]) total += static_cast<double>(flow.amount) * cost(flow.row, j);
    }
    return total;
  }

 private:
  struct Flow {
    size_t row;
    int64_t amount;  // above zero
  };

  double cost(size_t i, size_t j) const { return costs_[i * columns_ + j]; }

  // Sends as much as possible along one shortest path of reduced costs from row `source` to a column that wants more.
  void augment(size_t source) {
    distance_.assign(columns_, kInfinity);
    parent_.assign(columns_, source);
    row_distance_.assign(rows_, kInfinity);
    row_parent_.assign(rows_, columns_);
    done_.clear();
    open_.resize(columns_);
    for (size_t j = 0; j < columns_; ++j) open_[j] = j;
    reach(source, 0);
    size_t target = columns_;
    while (target == columns_) {
      const auto nearest =
          std::min_element(open_.begin(), open_.end(), [&](size_t a, size_t b) { return distance_[a] < distance_[b]; });
      const size_t j = *nearest;
      *nearest = open_.back();
      open_.pop_back();
      if (wanted_[j] > 0) {
        target = j;
      } else {
        done_.push_back(j);
        for (const Flow& flow : flows_[j]) {
          if (row_distance_[flow.row] != kInfinity) continue;
          row_parent_[flow.row] = j;
          reach(flow.row, distance_[j]);
        }
      }
    }
    const double length = distance_[target];
    for (size_t i = 0; i < rows_; ++i) {
      if (row_distance_[i] != kInfinity) row_potential_[i] += length - row_distance_[i];
    }
    for (size_t j : done_) column_potential_[j] -= length - distance_[j];
    send(source, target);
  }

  // Goods can be at row i at this distance: what it can supply from there?
  void reach(size_t i, double distance) {
    row_distance_[i] = distance;
    const double* costs = costs_.data() + i * columns_;
    const double base = distance - row_potential_[i];
    for (size_t j : open_) {
      const double through = std::max(distance, base + costs[j] - column_potential_[j]);
      if (through < distance_[j]) {
        distance_[j] = through;
        parent_[j] = i;
      }
    }
  }

  void send(size_t source, size_t target) {
    int64_t amount = std::min(left_[source], wanted_[target]);
    for (size_t j = target, i = parent_[j]; i != source; i = parent_[j]) {
      j = row_parent_[i];
      amount = std::min(amount, find(j, i)->amount);
    }
    left_[source] -= amount;
    wanted_[target] -= amount;
    for (size_t j = target;;) {
      const size_t i = parent_[j];
      const auto flow = find(j, i);
      if (flow == flows_[j].end()) {
        flows_[j].push_back({i, amount});
      } else {
        flow->amount += amount;
      }
      if (i == source) break;
      j = row_parent_[i];
      const auto less = find(j, i);
      less->amount -= amount;
      if (less->amount == 0) flows_[j].erase(less);
    }
  }

  std::vector<Flow>::iterator find(size_t column, size_t row) {
    return std::find_if(flows_[column].begin(), flows_[column].end(), [&](const Flow& f) { return f.row == row; });
  }

  std::vector<int64_t> left_, wanted_;
  std::span<const double> costs_;
  size_t rows_, columns_;
  std::vector<double> row_potential_, column_potential_;
  std::vector<std::vector<Flow>> flows_;  // into each column

  // Of the search at hand.
  std::vector<double> distance_, row_distance_;  // of columns, of rows
  std::vector<size_t> parent_, row_parent_;      // the row before a column, the column before a row
  std::vector<size_t> open_, done_;              // columns whose distance is not final yet, or is
};

}  // namespace

double transport_cost(std::span<const int64_t> supplies, std::span<const int64_t> demands,
                      std::span<const double> costs, const Context& context) {
  return Transport(supplies, demands, costs).solve(context);
}

}  // namespace readback::score
