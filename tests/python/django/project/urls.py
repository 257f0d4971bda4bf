"""The views of the project."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from tests.python.django.project.shop import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("order/", views.order),
    path("order-then-fail/", views.order_then_fail),
    path("order-async/", views.order_async),
]
