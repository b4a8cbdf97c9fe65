/** Durations, sizes and times as people type and read them: `500ms`, `10s`, `7d`, `512 MB`. */
import { OpenIMError } from '../crypto/errors.ts'

const unitsMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
type Unit = keyof typeof unitsMs

const durationMsMax = 365 * unitsMs.d

/** @throws USAGE_ARGUMENT */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text.trim())
  const ms = match === null ? Number.NaN : Number(match[1]) * unitsMs[match[2] as Unit]
  if (Number.isNaN(ms) || ms > durationMsMax) {
    throw new OpenIMError('USAGE_ARGUMENT', `"${text}" is no duration: write 500ms, 10s, 2m, 12h or 7d`)
  }
  return Math.round(ms)
}

/** Two units at most: `3h 12m`, `2d`, `12s`, `38 ms`. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`
  const seconds = Math.floor(ms / 1_000)
  const parts: string[] = []
  let rest = seconds
  for (const [unit, size] of [['d', 86_400], ['h', 3_600], ['m', 60], ['s', 1]] as const) {
    const count = Math.floor(rest / size)
    rest %= size
    if (count > 0) parts.push(`${count}${unit}`)
    else if (parts.length > 0) break
  }
  return parts.slice(0, 2).join(' ')
}

const sizeUnits = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/** `0 B`, `41 kB`, `512 MB`; units are powers of 1,024, as in the settings. */
export function formatSize(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1_024 && unit < sizeUnits.length - 1) {
    value /= 1_024
    unit++
  }
  const digits = value < 10 && unit > 0 && value % 1 !== 0 ? 1 : 0
  return `${value.toFixed(digits)} ${sizeUnits[unit]}`
}

/** `10:02` today, `2026-11-20 10:02` otherwise, in local time. */
export function formatTime(timeMs: number, nowMs: number): string {
  const time = new Date(timeMs)
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}`
  const date = dateOf(time)
  return date === dateOf(new Date(nowMs)) ? clock : `${date} ${clock}`
}

function dateOf(time: Date): string {
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`
}

function two(value: number): string {
  return String(value).padStart(2, '0')
}
