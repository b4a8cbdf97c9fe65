/**
 * "Did you mean …?" for settings and contact names: the nearest known word by
 * Damerau–Levenshtein distance (optimal string alignment), if it is near enough to help.
 */

/** Words longer than this are not compared: the table below is quadratic. */
const wordLengthMax = 64

/** The nearest of `words` within a third of the length (at least one edit); undefined otherwise. */
export function suggest(wrong: string, words: readonly string[]): string | undefined {
  if (wrong.length > wordLengthMax) return undefined
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(wrong.length / 3)) + 1
  for (const word of words) {
    if (word.length > wordLengthMax) continue
    const distance = editDistance(wrong.toLowerCase(), word.toLowerCase())
    if (distance < bestDistance) {
      best = word
      bestDistance = distance
    }
  }
  return best
}

function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + change)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (swapped) cost = Math.min(cost, beforeLast[j - 2]! + 1)
      row.push(cost)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}
