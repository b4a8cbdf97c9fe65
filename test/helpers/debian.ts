/**
 * Programs from Debian's packages that tests talk to: proxies, servers, tools. As root they are
 * installed when they are missing; elsewhere the test is skipped and says so. Nothing of theirs is
 * started by the package: each test runs a private instance.
 */
import { execFile } from 'node:child_process'
import { accessSync, constants, globSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/bin']

/** Where a program is, or `undefined`. */
export function findProgram(name: string): string | undefined {
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

/** Finds a program, installing its package or packages when we may. `undefined`: not here, so skip. */
export async function needProgram(
  name: string,
  packages: string | readonly string[] = name,
): Promise<string | undefined> {
  const found = findProgram(name)
  if (found !== undefined || process.getuid?.() !== 0) return found
  await install(...typeof packages === 'string' ? [packages] : packages)
  return findProgram(name)
}

/** The same for a file that is no program, by a pattern. */
export async function needFile(pattern: string, packageName: string): Promise<string | undefined> {
  const [found] = globSync(pattern)
  if (found !== undefined || process.getuid?.() !== 0) return found
  await install(packageName)
  return globSync(pattern)[0]
}

/**
 * Finds a Python 3 that can import a module, installing the module's package when we may: which
 * Python comes first in PATH need not be the one that packages are for. `undefined`: skip.
 */
export async function needPythonModule(name: string): Promise<string | undefined> {
  const find = async (): Promise<string | undefined> => {
    for (const folder of folders) {
      const python = join(folder, 'python3')
      if (isExecutable(python) && await imports(python, name)) return python
    }
    return undefined
  }
  const found = await find()
  if (found !== undefined || process.getuid?.() !== 0) return found
  await install(`python3-${name}`)
  return await find()
}

async function imports(python: string, module: string): Promise<boolean> {
  return await execute(python, ['-c', `import ${module}`], { timeout: 30_000 }).then(() => true, () => false)
}

/** One at a time on this machine: apt takes a lock and waits for it. */
async function install(...packages: readonly string[]): Promise<void> {
  const args = ['-y', '-o', 'DPkg::Lock::Timeout=300', '--no-install-recommends', 'install', ...packages]
  // Services look at the run level: in single-user mode none is started.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
  try {
    await execute('apt-get', args, { env, timeout: 300_000 })
  } catch {
    await execute('apt-get', ['-o', 'DPkg::Lock::Timeout=300', 'update'], { env, timeout: 300_000 })
    await execute('apt-get', args, { env, timeout: 300_000 }).catch(() => {})
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
