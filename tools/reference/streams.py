"""readback's streams of random numbers, for generators whose goldens are drawn from them: readback/base/random.h."""

import enum
import math

import numpy as np


class Purpose(enum.IntEnum):
    """Those of readback::Purpose that goldens draw from."""
    INITIAL_NOISE = 2
    SCHEDULER_NOISE = 3
    BOOTSTRAP = 9
    TEST = 12
    DENOISING_ERROR = 14
    PRIOR_NOISE = 15
    UPSCALING_NOISE = 16


def philox4x32(counter, key):
    """Four arrays of 32-bit words for four of them, held in 64 bits, under a key of two numbers."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        a, b = counter[0] * np.uint64(0xD2511F53), counter[2] * np.uint64(0xCD9E8D57)
        counter = [(b >> shift) ^ counter[1] ^ np.uint64(key[0]), b & low,
                   (a >> shift) ^ counter[3] ^ np.uint64(key[1]), a & low]
        key = (key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32
    return counter


class Random:
    def __init__(self, seed, purpose, name="", index=0):
        stream = 0xCBF29CE484222325
        for byte in name.encode():
            stream = ((stream ^ byte) * 0x100000001B3) % 2**64
        stream ^= index * 0x9E3779B97F4A7C15 % 2**64
        self.key, self.stream, self.position = (seed % 2**32, seed >> 32), (stream % 2**32, stream >> 32), 0
        self.purpose = purpose << 24

    def words(self, count):
        """The next `count` 32-bit numbers."""
        first, start = divmod(self.position, 4)
        self.position += count
        blocks = np.arange(first, (self.position + 3) // 4, dtype=np.uint64)
        counter = [blocks & np.uint64(0xFFFFFFFF), blocks >> np.uint64(32) | np.uint64(self.purpose),
                   *(np.full_like(blocks, word) for word in self.stream)]
        return np.stack(philox4x32(counter, self.key), 1).reshape(-1)[start:start + count]

    def normal(self, *shape):
        """float32, as Random::fill_normal draws them."""
        count = math.prod(shape)
        low, high = self.words(4 * ((count + 1) // 2)).reshape(-1, 2).T
        uniform = ((low | high << np.uint64(32)) >> np.uint64(11)) * 2.0**-53
        radius, angle = np.sqrt(-2 * np.log(1 - uniform[::2])), 2 * np.pi * uniform[1::2]
        values = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)
        return values[:count].astype(np.float32).reshape(shape)
