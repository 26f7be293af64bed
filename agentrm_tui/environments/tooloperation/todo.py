"""Tools over a made-up to-do list: projects, their tasks, due dates. Tool names as in AgentBoard."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import zip_longest
from random import Random
from typing import Any, Literal, NamedTuple

from agentrm_tui.environments.base import Picture
from agentrm_tui.environments.tooloperation.drawing import Role, draw_lines
from agentrm_tui.environments.tools import Fact, RefusedError, Result, ToolServer, tool_table
from agentrm_tui.environments.tools.calls import Call
from agentrm_tui.environments.tools.server import Advice, Assignment
from agentrm_tui.environments.tools.signatures import quoted
from agentrm_tui.environments.tools.words import words

TASKS_EACH = 3
"""Most tasks of a project, so that a list stays short."""

PROJECT_NAMES = words(
    "Home Garden Office Travel School Health Music Kitchen Study Workshop Family Sports Attic Balcony Cellar Choir "
    "Dance Errands Fitness Garage Hiking Language Market Moving Party Pets Reading Repairs Saving Theatre Winter"
)
COLOURS = words("red blue green grey teal lime")
VERBS = words(
    "Buy Clean Check Fix Pack Paint Read Print Order Sort Book Test Count Move Wash Find Sell Copy Fetch Store"
)
THINGS = words(
    "shoes tickets windows lamps notes boxes tools plants forms shelves invoices maps towels cables seeds pans books "
    "keys filters chairs gloves candles bottles letters photos carpets ropes baskets blankets cups doors pipes"
)
PLACES = words("Ostwick Pellan Tirna Lowden Vintry Castell Monrow Skarn")


class Job(NamedTuple):
    """A task of a project (called job here, since `Task` is the environment's)."""

    id: str
    project: str
    content: str
    due: str
    priority: int
    minutes: int
    place: str
    completed: bool


class Project(NamedTuple):
    """A named list of tasks."""

    id: str
    name: str
    color: str
    favourite: bool


class TodoList(NamedTuple):
    """All projects and tasks, and the user's day and city."""

    projects: tuple[Project, ...]
    jobs: tuple[Job, ...]
    today: str
    city: str

    def of(self, project_id: str) -> tuple[Job, ...]:
        """The tasks of a project."""
        return tuple(job for job in self.jobs if job.project == project_id)

    def day(self, offset: int) -> str:
        """The date so many days after today."""
        return (date.fromisoformat(self.today) + timedelta(offset)).isoformat()


def make_todo(difficulty: int, rng: Random) -> TodoList:
    """Make up projects and tasks."""
    count = 2 + min(difficulty, 2)
    numbers = iter(rng.sample(range(100, 1000), 40))
    today = date(2031, 1, 1) + timedelta(rng.randrange(360))
    city = rng.choice(PLACES)
    projects, jobs = [], []
    things = iter(rng.sample(THINGS, count * TASKS_EACH))
    for name in rng.sample(PROJECT_NAMES, count):
        project = Project(str(next(numbers)), name, rng.choice(COLOURS), rng.random() < 0.3)
        projects.append(project)
        offsets = rng.sample([offset for offset in range(-9, 15) if offset], TASKS_EACH)
        for offset in offsets[: rng.randint(2, TASKS_EACH)]:
            jobs.append(
                Job(
                    id=str(next(numbers)),
                    project=project.id,
                    content=f"{rng.choice(VERBS)} {next(things)}",
                    due=(today + timedelta(offset)).isoformat(),
                    priority=rng.randint(1, 4),
                    minutes=rng.randint(1, 24) * 5,
                    place=city if rng.random() < 0.3 else rng.choice(PLACES),
                    completed=rng.random() < 0.25,
                )
            )
    return TodoList(tuple(projects), tuple(jobs), today.isoformat(), city)


def get_user_current_date(data: TodoList) -> Result[TodoList]:
    """Today's date, YYYY-MM-DD."""
    return Result(data.today, (("today",),))


def get_user_current_location(data: TodoList) -> Result[TodoList]:
    """The city that the user is in."""
    return Result(data.city, (("city",),))


def get_projects(data: TodoList) -> Result[TodoList]:
    """All projects."""
    return Result([_shown_project(project) for project in data.projects], (("projects",),))


def update_project(data: TodoList, project_id: str, is_favorite: Literal["True", "False"] | bool) -> Result[TodoList]:
    """Make a project a favourite, or not."""
    old = _project(data, project_id)
    new = old._replace(favourite=str(is_favorite) == "True")
    projects = tuple(new if project is old else project for project in data.projects)
    return Result(_shown_project(new), data=data._replace(projects=projects))


def get_tasks(data: TodoList, project_id: str) -> Result[TodoList]:
    """The tasks of a project."""
    project = _project(data, project_id)
    return Result([_shown_job(job) for job in data.of(project.id)], (("tasks", project.id),))


def get_task_description(data: TodoList, task_id: str) -> Result[TodoList]:
    """Where a task is to be done."""
    job = _job(data, task_id)
    told = {"id": job.id, "content": job.content, "description": f"Place: {job.place}."}
    return Result(told, (("description", job.id),))


def get_task_duration(data: TodoList, task_id: str) -> Result[TodoList]:
    """How long a task takes, as amount(unit)."""
    job = _job(data, task_id)
    told = {"id": job.id, "content": job.content, "duration": f"{job.minutes}(minute)"}
    return Result(told, (("duration", job.id),))


def complete_task(data: TodoList, task_id: str) -> Result[TodoList]:
    """Mark a task as completed; this cannot be undone."""
    old = _job(data, task_id)
    if old.completed:
        raise RefusedError(f"task {old.id} is completed already")
    return _changed(data, old, old._replace(completed=True))


def update_task(data: TodoList, task_id: str, due_date: str) -> Result[TodoList]:
    """Change when a task is due."""
    old = _job(data, task_id)
    try:
        due = date.fromisoformat(due_date).isoformat()
    except ValueError:
        raise RefusedError(f"due_date must be a date like {data.today}, not {quoted(due_date)}") from None
    return _changed(data, old, old._replace(due=due))


def delete_task(data: TodoList, task_id: str) -> Result[TodoList]:
    """Remove a task; this cannot be undone."""
    old = _job(data, task_id)
    jobs = tuple(job for job in data.jobs if job is not old)
    return Result(f"Deleted {old.id}, {old.content}.", data=data._replace(jobs=jobs))


def _changed(data: TodoList, old: Job, new: Job) -> Result[TodoList]:
    jobs = tuple(new if job is old else job for job in data.jobs)
    return Result(_shown_job(new), data=data._replace(jobs=jobs))


def _shown_project(project: Project) -> dict[str, Any]:
    return {"id": project.id, "name": project.name, "color": project.color, "is_favorite": project.favourite}


def _shown_job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "content": job.content,
        "is_completed": job.completed,
        "priority": job.priority,
        "due_date": job.due,
    }


def _project(data: TodoList, project_id: str) -> Project:
    for project in data.projects:
        if project.id == project_id.strip():
            return project
    raise RefusedError(f"there is no project with the id {quoted(project_id)}")


def _job(data: TodoList, task_id: str) -> Job:
    for job in data.jobs:
        if job.id == task_id.strip():
            return job
    raise RefusedError(f"there is no task with the id {quoted(task_id)}")


TODO_TOOLS = tool_table(
    (
        get_user_current_date,
        get_user_current_location,
        get_projects,
        update_project,
        get_tasks,
        get_task_description,
        get_task_duration,
        complete_task,
        update_task,
        delete_task,
    )
)


class TodoTools(ToolServer[TodoList]):
    """What to-do calls make sense, what has been changed, and how to get from one list to another."""

    name = "todo"
    tools = TODO_TOOLS
    handles = frozenset({"projects", "tasks", "today"})
    introduction = "The to-do list is ready."

    def make_data(self, difficulty: int, rng: Random) -> TodoList:
        """Make up the list."""
        return make_todo(difficulty, rng)

    def data_key(self, data: TodoList) -> str:
        """All that a tool can change."""
        favourites = "".join(f"{project.favourite:d}" for project in data.projects)
        return favourites + ";" + ";".join(f"{job.id},{job.due},{job.completed:d}" for job in data.jobs)

    def differences(self, data: TodoList, reference: TodoList) -> int:
        """Projects and tasks that are not as they should be."""
        projects = sum(one != other for one, other in zip(data.projects, reference.projects, strict=True))
        mine, right = {job.id: job for job in data.jobs}, {job.id: job for job in reference.jobs}
        return projects + sum(mine.get(number) != right.get(number) for number in {**mine, **right})

    def repair(self, assignment: Assignment[TodoList], data: TodoList) -> Advice | None:
        """The next change: favourites, then tasks in their order."""
        reference = assignment.reference
        mine = {job.id: job for job in data.jobs}
        if any(_lost(mine.get(job.id), job) for job in reference.jobs):
            raise RefusedError("a task was completed or deleted that should not have been")
        for project, should in zip_longest(data.projects, reference.projects):
            if project != should:
                arguments = {"project_id": should.id, "is_favorite": str(should.favourite)}
                return Advice(f"{should.name} is to be changed.", Call("update_project", arguments))
        right = {job.id: job for job in reference.jobs}
        for job in data.jobs:
            call = _next_call(job, right.get(job.id))
            if call is not None:
                return Advice(f"{job.content} is to be changed.", call)
        return None

    def offers(self, assignment: Assignment[TodoList], data: TodoList, known: frozenset[Fact]) -> Iterator[Call]:
        """Look around; change what the lists seen so far contain."""
        yield from (Call(name, {}) for name in ("get_user_current_date", "get_user_current_location", "get_projects"))
        if ("projects",) not in known:
            return
        goal = assignment.draft.goal
        named = [data.day(offset) for offset in range(31) if data.day(offset) in goal]
        dates = named or ([data.day(1)] if ("today",) in known else [])
        for project in data.projects:
            yield Call("get_tasks", {"project_id": project.id})
            yield Call("update_project", {"project_id": project.id, "is_favorite": str(not project.favourite)})
            if ("tasks", project.id) not in known:
                continue
            for job in data.of(project.id):
                names = ("get_task_description", "get_task_duration", "complete_task", "delete_task")
                yield from (Call(name, {"task_id": job.id}) for name in names)
                yield from (Call("update_task", {"task_id": job.id, "due_date": day}) for day in dates)

    def picture(self, data: TodoList) -> Picture:
        """Projects and tasks as lines."""
        lines: list[tuple[Role, str]] = []
        for project in data.projects:
            lines.append(("goal", f"{'*' if project.favourite else ' '} {project.name}"))
            for job in data.of(project.id):
                mark = "x" if job.completed else " "
                role: Role = "floor" if job.completed else "object"
                lines.append((role, f"  [{mark}] {job.content}, {job.due[5:]}, p{job.priority}"))
        return draw_lines(lines, f"today {data.today}, {data.city}")


def _lost(job: Job | None, should: Job) -> bool:
    return job is None or (job.completed and not should.completed)


def _next_call(job: Job, should: Job | None) -> Call | None:
    if should is None:
        return Call("delete_task", {"task_id": job.id})
    if job.due != should.due:
        return Call("update_task", {"task_id": job.id, "due_date": should.due})
    if job.completed != should.completed:
        return Call("complete_task", {"task_id": job.id})
    return None
