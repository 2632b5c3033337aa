export const BLOCK = 64 * 1024;

/**
 * Returns block `index` of the endless download: reproducible bytes that do not compress, so that a receiver
 * can check every one.
 *
 * @param {number} index
 * @returns {Uint8Array}
 */
export function patternBlock(index) {
  const words = new Uint32Array(BLOCK / 4);
  let state = (index + 1) * 0x9e3779b1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer);
}
