import { mkdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

/**
 * Returns a path below the data folder, which is created when it is first needed.
 *
 * @param {...string} parts
 */
export function dataPath(...parts) {
  const file = path.resolve(process.env.DATA_DIR ?? '.data', ...parts);
  mkdirSync(path.dirname(file), { recursive: true });
  return file;
}
