// Writes two larger static files before a build: text, which the adapter stores compressed as well, and
// noise, which it cannot compress.
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { patternBlock } from '../src/lib/pattern.js';

const WORDS =
  'river stone lantern orchard harbour winter copper meadow signal thread willow engine ' +
  'paper summit ember current hollow garden mirror feather compass island quiet morning';

function notes(paragraphs) {
  const words = WORDS.split(' ');
  let state = 1;
  const next = (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % bound;
  };
  const sentence = () => Array.from({ length: 6 + next(9) }, () => words[next(words.length)]).join(' ') + '.';
  const paragraph = () => Array.from({ length: 5 }, sentence).join(' ');
  return Array.from({ length: paragraphs }, paragraph).join('\n\n') + '\n';
}

const out = fileURLToPath(new URL('../static/generated/', import.meta.url));
mkdirSync(out, { recursive: true });
writeFileSync(out + 'field-notes.txt', notes(4000));
writeFileSync(out + 'noise.bin', Buffer.concat(Array.from({ length: 32 }, (_, i) => patternBlock(i))));
