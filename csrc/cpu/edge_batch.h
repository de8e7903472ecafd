#pragma once

// Edges in the order of their destinations, as many at a time as the widest vector has places.

#include <algorithm>
#include <cstdint>

namespace irrepnet {

template <typename T>
constexpr int64_t kBatch = 64 / sizeof(T);

// A batch never holds edges of two groups of so many destinations, and threads share out whole groups: sums of several
// paths to one place have an order that batches make, and it must not depend on the number of threads.
constexpr int64_t kNodesApart = 16;

struct Edges {
  const int64_t *src, *by_dst, *dst_ptr;
  int64_t count, sources, destinations;
};

// Edges [begin, end) of a batch go to one destination, whose sums lie in a slot until its last edge has come.
struct Run {
  int64_t node, slot;
  int64_t begin, end;
  bool starts, ends;
};

template <typename T>
struct EdgeBatch {
  int64_t count, runs;
  int64_t edge[kBatch<T>], src[kBatch<T>];
  int64_t next[kBatch<T>];  // edges of the batch after this one, to fetch their memory ahead; the same ones at the end
  Run run[kBatch<T>];

  const Run* begin() const { return run; }
  const Run* end() const { return run + runs; }
};

// Walks the edges of destinations [first, last).
template <typename T>
class EdgeWalk {
 public:
  EdgeWalk(const Edges& edges, int64_t first, int64_t last, int64_t width)
      : edges_(edges), node_(first), at_(edges.dst_ptr[first]), end_(edges.dst_ptr[last]),
        // The sums of all destinations of a batch shall fit a cache.
        slots_(std::clamp<int64_t>(65536 / (std::max<int64_t>(width, 1) * sizeof(T)), 1, kBatch<T>)) {}

  int64_t slots() const { return slots_; }

  bool next(EdgeBatch<T>& batch) {
    batch.count = batch.runs = 0;
    while (batch.count < kBatch<T> && batch.runs < slots_ && at_ < end_) {
      while (at_ == edges_.dst_ptr[node_ + 1]) ++node_;
      if (batch.runs > 0 && node_ / kNodesApart != batch.run[0].node / kNodesApart) break;
      const int64_t stop = edges_.dst_ptr[node_ + 1], take = std::min(kBatch<T> - batch.count, stop - at_);
      const bool starts = at_ == edges_.dst_ptr[node_], ends = at_ + take == stop;
      batch.run[batch.runs++] = {node_, slot_, batch.count, batch.count + take, starts, ends};
      for (int64_t n = 0; n < take; ++n, ++at_, ++batch.count) {
        batch.edge[batch.count] = edges_.by_dst[at_];
        batch.src[batch.count] = edges_.src[batch.edge[batch.count]];
      }
      if (ends) slot_ = (slot_ + 1) % slots_;
    }
    for (int64_t n = 0; n < batch.count; ++n) {
      batch.next[n] = at_ + n < end_ ? edges_.by_dst[at_ + n] : batch.edge[n];
    }
    return batch.count > 0;
  }

 private:
  const Edges& edges_;
  int64_t node_, at_, end_, slots_, slot_ = 0;
};

}  // namespace irrepnet
