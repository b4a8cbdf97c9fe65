/**
 * Public test vectors, which lie beside the project and not in it (`../shared/vectors`, sources
 * and hashes in its SOURCES.md). A clone may lack them: the tests then skip loudly, and the
 * vectors typed into the tests still run.
 */
import { existsSync, readFileSync } from 'node:fs'

const folder = new URL('../../../../shared/vectors/', import.meta.url)

export const hasPublicVectors = existsSync(folder)
export const skipReason = 'the public vectors (../shared/vectors) are not there'

export function readVectors<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as T
}

interface Wycheproof<Group, Case> {
  readonly testGroups: readonly (Group & { readonly tests: readonly (Case & WycheproofCase)[] })[]
}

export interface WycheproofCase {
  readonly tcId: number
  readonly result: 'valid' | 'invalid' | 'acceptable'
  readonly flags: readonly string[]
}

/** Calls `check` for every case; an error names the case. @returns how many there were */
export function eachCase<Group, Case>(
  file: string,
  check: (test: Case & WycheproofCase, group: Group) => void,
): number {
  let count = 0
  for (const group of readVectors<Wycheproof<Group, Case>>(file).testGroups) {
    for (const test of group.tests) {
      try {
        check(test, group)
      } catch (cause) {
        throw new Error(`${file}, case ${test.tcId}: ${String((cause as Error).message)}`, { cause })
      }
      count++
    }
  }
  return count
}
